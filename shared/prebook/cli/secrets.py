"""`prebook secrets`: draw every password of a container deployment, once, into files that only their users may read."""

import json
import os
import secrets as random
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from prebook.flows import PROCESSES
from prebook.messaging.addresses import ARCHIVE_READER, broker_user
from prebook.topology.access import ACCOUNTS

SECRETS_GID = 10000
SETUP_UID = 10010
ARCHIVIST_UID = 10011
FIRST_SERVICE_UID = 10001
"""booking, pricing, ... in the order of the catalogue; the compose file runs each under its own."""
OWNER_ONLY_MODE, GROUP_READABLE_MODE = 0o400, 0o440
COMPLETION_FILE = "control_token"
"""Written when all others are there."""


@click.command(epilog="Example: prebook secrets --into /run/prebook")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder, kept private.")
@click.option("--database-host", default="postgres:5432", show_default=True)
@click.option("--broker-host", default="rabbitmq:5672", show_default=True)
def secrets(output_dir: Path, database_host: str, broker_host: str) -> None:
    """Draw the passwords of a container deployment, unless they are there already."""
    if (output_dir / COMPLETION_FILE).exists():
        click.echo(f"{output_dir} has its secrets already; delete the volume to draw new ones")
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    for path, (text, uid, mode) in generate_secrets(database_host, broker_host).items():
        _write_file(output_dir / path, text, uid, mode)
    click.echo(f"drew new secrets into {output_dir}")


def generate_secrets(database_host: str, broker_host: str) -> Mapping[str, tuple[str, int, int]]:
    """File -> text, owner and mode."""
    admin, broker_admin = _generate_password(), _generate_password()
    passwords = {account: _generate_password() for account in ACCOUNTS}
    files: dict[str, tuple[str, int, int]] = {
        "postgres_password": (admin, 0, OWNER_ONLY_MODE),
        "rabbitmq_password": (broker_admin, 0, OWNER_ONLY_MODE),
        "setup/database_url": (_database_url("postgres", admin, database_host), SETUP_UID, OWNER_ONLY_MODE),
        "setup/rabbitmq_password": (broker_admin, SETUP_UID, OWNER_ONLY_MODE),
        "setup/role_passwords": (json.dumps(passwords), SETUP_UID, OWNER_ONLY_MODE),
        "callback_secrets": (_generate_password(), 0, GROUP_READABLE_MODE),
        "booking/rider_callback_secrets": (_generate_password(), FIRST_SERVICE_UID, OWNER_ONLY_MODE),
        f"{ARCHIVE_READER}/amqp_url": (
            _amqp_url(ARCHIVE_READER, passwords[ARCHIVE_READER], broker_host),
            ARCHIVIST_UID,
            OWNER_ONLY_MODE,
        ),
    }
    for uid, service in enumerate(PROCESSES, FIRST_SERVICE_UID):
        password = passwords[service]
        files[f"{service}/database_url"] = (
            _database_url(f"prebook_{service}", password, database_host),
            uid,
            OWNER_ONLY_MODE,
        )
        files[f"{service}/amqp_url"] = (_amqp_url(service, password, broker_host), uid, OWNER_ONLY_MODE)
    return {**files, COMPLETION_FILE: (_generate_password(), 0, GROUP_READABLE_MODE)}


def _database_url(user: str, password: str, host: str) -> str:
    return f"postgresql+asyncpg://{user}:{password}@{host}/prebook"


def _amqp_url(account: str, password: str, host: str) -> str:
    return f"amqp://{broker_user(account)}:{password}@{host}/prebook"


def _generate_password() -> str:
    return random.token_urlsafe(24)


def _write_file(path: Path, text: str, uid: int, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.chown(path, uid, SECRETS_GID)
