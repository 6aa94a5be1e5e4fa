"""`prebook setup`: the deploy job, which brings database and broker up to date."""

from typing import Annotated

import msgspec
import rich_click as click

from prebook.cli.settings import (
    AdministratorDatabaseUrl,
    ManagementPassword,
    ManagementUrl,
    ManagementUser,
    read_settings,
)
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.setup import ROLE_CONNECTIONS, AdminAccess, DatabaseAdminAccess, migrate, set_up
from prebook.devstack.terminal import echo
from prebook.flows import PROCESSES
from prebook.postgres.engine import CONNECTIONS_PER_PROCESS
from prebook.runtime import paths

EXAMPLES = examples(
    "prebook setup",
    "PREBOOK_ROLE_PASSWORDS_FILE=/run/secrets/roles PREBOOK_MANAGEMENT_URL=http://127.0.0.1:15672 ... prebook setup",
    "prebook setup --database-only    where RabbitMQ's Messaging Topology Operator declares the topology",
)


class DatabaseSetupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `prebook setup --database-only`. Each field is a variable PREBOOK_<NAME>."""

    database_url: AdministratorDatabaseUrl
    role_passwords: Annotated[
        str,
        msgspec.Meta(
            description="JSON object with the password of each service's role and broker user",
            examples=['{"booking": "...", "pricing": "...", ...}'],
        ),
    ]
    role_connections: Annotated[
        int,
        msgspec.Meta(
            ge=CONNECTIONS_PER_PROCESS,
            description="maximum number of database connections of each service's role, in all its processes; "
            f"a process has up to {CONNECTIONS_PER_PROCESS}",
        ),
    ] = ROLE_CONNECTIONS


class SetupSettings(DatabaseSetupSettings, frozen=True, kw_only=True):
    """Settings of `prebook setup`. Each field is a variable PREBOOK_<NAME>."""

    management_url: ManagementUrl
    management_user: ManagementUser
    management_password: ManagementPassword


@click.command(epilog=EXAMPLES)
@click.option(
    "--database-only",
    is_flag=True,
    help="Leave the broker alone: no access to its management API is needed.",
)
def setup(*, database_only: bool) -> None:
    """Bring schemas, roles, users and the broker's topology up to date, then exit. A second run changes nothing.

    Settings come from PREBOOK_* variables, or from files that <NAME>_FILE names.
    """
    settings = read_settings(DatabaseSetupSettings if database_only else SetupSettings)
    database = DatabaseAdminAccess(
        url=settings.database_url,
        passwords=_parse_passwords(settings.role_passwords),
        role_connections=settings.role_connections,
    )
    log_dir = paths.home_dir() / "logs"
    if isinstance(settings, SetupSettings):
        access = AdminAccess(
            database=database,
            management_url=settings.management_url,
            management_user=settings.management_user,
            management_password=settings.management_password,
        )
        command_line.run_interruptible(set_up(access, log_dir, log_to_stderr))
        echo("set up: schemas, roles, users and topology are up to date")
    else:
        command_line.run_interruptible(migrate(database, log_dir))
        echo("set up: schemas and roles are up to date; the broker was left alone")


def _parse_passwords(text: str) -> dict[str, str]:
    """Parse a JSON object of passwords by account. Raises UserError if it is invalid or lacks a service."""
    remedy = f"give an object with a password for each of {', '.join(PROCESSES)}"
    try:
        passwords = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise UserError(f"PREBOOK_ROLE_PASSWORDS: {error}", remedy) from error
    if missing := set(PROCESSES) - set(passwords):
        raise UserError(f"PREBOOK_ROLE_PASSWORDS has no password for {', '.join(sorted(missing))}", remedy)
    return passwords
