"""`prebook secrets`: draw every password of a container deployment, once, into files that only their users may read."""

import json
import os
import secrets as random
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from prebook.flows import PROCESSES
from prebook.messaging.addresses import ARCHIVIST, user
from prebook.topology.access import ACCOUNTS

GROUP = 10000
SETUP_UID = 10010
ARCHIVIST_UID = 10011
FIRST_SERVICE_UID = 10001
"""booking, pricing, ... in the order of the catalogue; the compose file runs each under its own."""
OWNER_ONLY, GROUP_TOO = 0o400, 0o440
LAST = "control_token"
"""Written when all others are there."""


@click.command(epilog="Example: prebook secrets --into /run/prebook")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder, kept private.")
@click.option("--database-host", default="postgres:5432", show_default=True)
@click.option("--broker-host", default="rabbitmq:5672", show_default=True)
def secrets(into: Path, database_host: str, broker_host: str) -> None:
    """Draw the passwords of a container deployment, unless they are there already."""
    if (into / LAST).exists():
        click.echo(f"{into} has its secrets already; delete the volume to draw new ones")
        return
    into.mkdir(parents=True, exist_ok=True)
    for path, (text, uid, mode) in drawn(database_host, broker_host).items():
        _write(into / path, text, uid, mode)
    click.echo(f"drew new secrets into {into}")


def drawn(database_host: str, broker_host: str) -> Mapping[str, tuple[str, int, int]]:
    """File -> text, owner and mode."""
    admin, broker_admin = _password(), _password()
    passwords = {account: _password() for account in ACCOUNTS}
    files: dict[str, tuple[str, int, int]] = {
        "postgres_password": (admin, 0, OWNER_ONLY),
        "rabbitmq_password": (broker_admin, 0, OWNER_ONLY),
        "setup/database_url": (_database("postgres", admin, database_host), SETUP_UID, OWNER_ONLY),
        "setup/rabbitmq_password": (broker_admin, SETUP_UID, OWNER_ONLY),
        "setup/role_passwords": (json.dumps(passwords), SETUP_UID, OWNER_ONLY),
        "callback_secrets": (_password(), 0, GROUP_TOO),
        "booking/rider_secrets": (_password(), FIRST_SERVICE_UID, OWNER_ONLY),
        f"{ARCHIVIST}/amqp_url": (_broker(ARCHIVIST, passwords[ARCHIVIST], broker_host), ARCHIVIST_UID, OWNER_ONLY),
    }
    for uid, service in enumerate(PROCESSES, FIRST_SERVICE_UID):
        password = passwords[service]
        files[f"{service}/database_url"] = (_database(f"prebook_{service}", password, database_host), uid, OWNER_ONLY)
        files[f"{service}/amqp_url"] = (_broker(service, password, broker_host), uid, OWNER_ONLY)
    return {**files, LAST: (_password(), 0, GROUP_TOO)}


def _database(user: str, password: str, host: str) -> str:
    return f"postgresql+asyncpg://{user}:{password}@{host}/prebook"


def _broker(account: str, password: str, host: str) -> str:
    return f"amqp://{user(account)}:{password}@{host}/prebook"


def _password() -> str:
    return random.token_urlsafe(24)


def _write(path: Path, text: str, uid: int, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.chown(path, uid, GROUP)
