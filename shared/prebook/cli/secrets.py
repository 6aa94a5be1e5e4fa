"""`prebook secrets`: generate every password of a container deployment, once, into files only their users can read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from secrets import token_urlsafe

import rich_click as click

from prebook.devstack.command_line import examples
from prebook.devstack.container_users import CONSOLE_UID, SECRETS_GID, SERVICE_UIDS, SETUP_UID
from prebook.devstack.key_ring import generate_key_ring
from prebook.devstack.service_environment import read_subscribers
from prebook.devstack.supervisor.control_api import token_digest
from prebook.devstack.terminal import echo
from prebook.flows import CONSOLE, PROCESSES
from prebook.messaging.addresses import ARCHIVE_READER, VHOST, broker_user
from prebook.patterns.signature import generate_secret

BROKER_ADMIN = "admin"
OWNER_ONLY_MODE = 0o400
FOLDER_MODE = 0o755
PASSWORD_BYTES = 24
COMPLETION_FILE = f"{CONSOLE}/{PROCESSES[-1]}_control_token"
"""Name of the file that is written last: if it exists, all other files exist."""


@click.command(
    epilog=examples(
        "prebook secrets --output-dir /run/prebook",
        "prebook secrets --keep-owner --output-dir deploy/kubernetes/overlays/operators/secrets",
    )
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files; keep it private.",
)
@click.option("--database-host", default="postgres:5432", show_default=True, help="host:port in the database URLs.")
@click.option("--broker-host", default="rabbitmq:5672", show_default=True, help="host:port in the AMQP URLs.")
@click.option(
    "--keep-owner",
    is_flag=True,
    help="Leave the files to the user who runs the command, for Kubernetes, which has owners of its own.",
)
def secrets(output_dir: Path, database_host: str, broker_host: str, *, keep_owner: bool) -> None:
    """Generate the passwords of a container deployment, unless they exist already."""
    if (output_dir / COMPLETION_FILE).exists():
        echo(f"{output_dir} already has its secrets; delete the volume to generate new ones")
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    for path, (text, uid, mode) in generate_secrets(database_host, broker_host).items():
        _write_file(output_dir / path, text, None if keep_owner else uid, mode)
    echo(f"wrote new secrets to {output_dir}")


def generate_secrets(database_host: str, broker_host: str) -> Mapping[str, tuple[str, int, int]]:
    """Generate all passwords; return text, owner and mode of each file, by its path."""
    database_admin_password = _generate_password()
    broker_admin_password = _generate_password()
    readers = (ARCHIVE_READER, *read_subscribers())
    passwords = {account: _generate_password() for account in (*PROCESSES, *readers)}
    key_ring = generate_key_ring(rider_callbacks=(generate_secret(),))
    owners = {CONSOLE: CONSOLE_UID, **SERVICE_UIDS}
    files: dict[str, tuple[str, int, int]] = {
        "postgres_password": (database_admin_password, 0, OWNER_ONLY_MODE),
        "rabbitmq_password": (broker_admin_password, 0, OWNER_ONLY_MODE),
        "setup/database_url": (
            _database_url("postgres", database_admin_password, database_host),
            SETUP_UID,
            OWNER_ONLY_MODE,
        ),
        "setup/rabbitmq_password": (broker_admin_password, SETUP_UID, OWNER_ONLY_MODE),
        "setup/role_passwords": (json.dumps(passwords), SETUP_UID, OWNER_ONLY_MODE),
        **{path: (text, owners[PurePath(path).parts[0]], OWNER_ONLY_MODE) for path, text in key_ring.files().items()},
        "console/database_url": (
            _database_url("postgres", database_admin_password, database_host),
            CONSOLE_UID,
            OWNER_ONLY_MODE,
        ),
        "console/rabbitmq_password": (broker_admin_password, CONSOLE_UID, OWNER_ONLY_MODE),
        "console/amqp_url": (
            f"amqp://{BROKER_ADMIN}:{broker_admin_password}@{broker_host}/{VHOST}",
            CONSOLE_UID,
            OWNER_ONLY_MODE,
        ),
        f"console/{CONSOLE}_control_token": (_generate_password(), CONSOLE_UID, OWNER_ONLY_MODE),
        **{
            f"{reader}/amqp_url": (_amqp_url(reader, passwords[reader], broker_host), CONSOLE_UID, OWNER_ONLY_MODE)
            for reader in readers
        },
    }
    for service, uid in SERVICE_UIDS.items():
        password = passwords[service]
        database_url = _database_url(f"prebook_{service}", password, database_host)
        files[f"{service}/database_url"] = (database_url, uid, OWNER_ONLY_MODE)
        files[f"{service}/amqp_url"] = (_amqp_url(service, password, broker_host), uid, OWNER_ONLY_MODE)
    # A service can read what its supervisor reads, so a supervisor gets no token but the digest of its own.
    tokens = {service: _generate_password() for service in PROCESSES}
    for service, uid in SERVICE_UIDS.items():
        files[f"{service}/control_token_sha256"] = (token_digest(tokens[service]), uid, OWNER_ONLY_MODE)
    for service in PROCESSES:
        files[f"{CONSOLE}/{service}_control_token"] = (tokens[service], CONSOLE_UID, OWNER_ONLY_MODE)
    return files


def _database_url(user: str, password: str, host: str) -> str:
    return f"postgresql+asyncpg://{user}:{password}@{host}/prebook"


def _amqp_url(account: str, password: str, host: str) -> str:
    return f"amqp://{broker_user(account)}:{password}@{host}/{VHOST}"


def _generate_password() -> str:
    return token_urlsafe(PASSWORD_BYTES)


def _write_file(path: Path, text: str, uid: int | None, mode: int) -> None:
    """Write a secret; without ``uid``, it belongs to the user who runs the command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(FOLDER_MODE)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    if uid is not None:
        os.chown(path, uid, SECRETS_GID)
