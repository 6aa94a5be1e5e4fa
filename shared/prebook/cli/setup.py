"""`prebook setup`: the deploy job. `prebook ready`: a health check."""

import urllib.error
import urllib.request
from typing import Annotated

import msgspec
import rich_click as click

from prebook.cli.settings import read_settings
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.setup import AdminAccess, set_up
from prebook.flows import PROCESSES
from prebook.runtime import paths

READY_TIMEOUT_S = 3.0
SETUP_EXAMPLES = examples(
    "prebook setup",
    "PREBOOK_ROLE_PASSWORDS_FILE=/run/secrets/roles PREBOOK_MANAGEMENT_URL=http://127.0.0.1:15672 ... prebook setup",
)


class SetupSettings(msgspec.Struct, frozen=True):
    """Each field is a variable PREBOOK_<NAME>."""

    database_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^postgresql\+asyncpg://", description="postgresql+asyncpg://admin:password@host:port/database"
        ),
    ]
    management_url: Annotated[str, msgspec.Meta(pattern="^https?://", description="http://host:15672")]
    management_user: Annotated[str, msgspec.Meta(description="an administrator of the broker")]
    management_password: Annotated[str, msgspec.Meta(description="the administrator's password")]
    role_passwords: Annotated[str, msgspec.Meta(description='JSON, service to password: {"booking": "...", ...}')]


@click.command(epilog=SETUP_EXAMPLES)
def setup() -> None:
    """Bring the schemas, roles and users and the broker's topology up to date, and end. Again: changes nothing."""
    given = read_settings(SetupSettings)
    access = AdminAccess(
        database_url=given.database_url,
        management_url=given.management_url,
        management_user=given.management_user,
        management_password=given.management_password,
        passwords=_parse_passwords(given.role_passwords),
    )
    command_line.run_interruptible(set_up(access, paths.home_dir() / "logs", log_to_stderr))
    click.echo("set up: schemas, roles, users and topology are up to date")


def _parse_passwords(text: str) -> dict[str, str]:
    remedy = f"give an object with a password for each of {', '.join(PROCESSES)}"
    try:
        passwords = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise UserError(f"PREBOOK_ROLE_PASSWORDS: {error}", remedy) from error
    if missing := set(PROCESSES) - set(passwords):
        raise UserError(f"PREBOOK_ROLE_PASSWORDS has none for {', '.join(sorted(missing))}", remedy)
    return passwords


@click.command(epilog="Example: prebook ready http://127.0.0.1:8080")
@click.argument("url")
def ready(url: str) -> None:
    """Exit status 0 where the service at URL is ready, else 1 with what it lacks."""
    remedy = "its log says more; `prebook up` starts a suite where none runs"
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=READY_TIMEOUT_S):  # noqa: S310 - the caller's URL
            click.echo("ready")
    except urllib.error.HTTPError as error:
        raise UserError(f"{url} is not ready: {error.read().decode(errors='replace')[:500]}", remedy) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{url} does not answer: {error}", remedy) from error
