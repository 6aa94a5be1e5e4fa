"""Access of a command to broker, database, archive and services: PREBOOK_* variables, else the running suite's."""

import getpass
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import asyncpg
import msgspec

from prebook.cli.settings import read_settings
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import CONSOLE, OPERATIONS, PROCESSES, SERVICES
from prebook.messaging.errors import Unreachable, error_summary
from prebook.postgres.dsn import asyncpg_dsn
from prebook.rabbit.management import ManagementClient
from prebook.runtime import paths

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0


class BrokerSettings(msgspec.Struct, frozen=True):
    """Settings PREBOOK_MANAGEMENT_URL, _USER and _PASSWORD, or <NAME>_FILE with the path of a file that holds one."""

    management_url: Annotated[
        str, msgspec.Meta(description="base URL of the broker's management API", examples=["http://host:15672"])
    ]
    management_user: Annotated[str, msgspec.Meta(description="an administrator of the broker")]
    management_password: Annotated[str, msgspec.Meta(description="the administrator's password")]


class DatabaseSettings(msgspec.Struct, frozen=True):
    """Setting PREBOOK_DATABASE_URL, or PREBOOK_DATABASE_URL_FILE with the path of a file that holds it."""

    database_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^postgresql\+asyncpg://",
            description="database URL with administrator's rights",
            examples=["postgresql+asyncpg://admin:password@host:port/database"],
        ),
    ]


CONSOLE_SECRETS_META = msgspec.Meta(
    description="comma-separated secrets by which commands sign their calls to services, the newest first",
    examples=["whsec_<base64>"],
)


class ConsoleSecrets(msgspec.Struct, frozen=True):
    """Setting PREBOOK_CONSOLE_SECRETS, or PREBOOK_CONSOLE_SECRETS_FILE with the path of a file that holds it."""

    console_secrets: Annotated[tuple[str, ...], CONSOLE_SECRETS_META]


class ArchiveSettings(msgspec.Struct, frozen=True):
    """Setting PREBOOK_ARCHIVE_URL, or PREBOOK_ARCHIVE_URL_FILE with the path of a file that holds it."""

    archive_url: Annotated[
        str,
        msgspec.Meta(
            pattern="^amqps?://",
            description="broker URL with the user that may read the archive",
            examples=["amqp://prebook_archive_reader:password@host:port/vhost"],
        ),
    ]
    console_secrets: Annotated[tuple[str, ...], CONSOLE_SECRETS_META] = ()


class OperationsSettings(msgspec.Struct, frozen=True):
    """Settings PREBOOK_URL_OPERATIONS and PREBOOK_OPERATOR_TOKEN, or <NAME>_FILE with the path of a file."""

    operator_token: Annotated[str, msgspec.Meta(description="token of an operator, by which commands use operations")]
    url_operations: Annotated[
        str,
        msgspec.Meta(pattern="^https?://", description="base URL of operations", examples=["http://127.0.0.1:8082"]),
    ]


@dataclass(frozen=True, repr=False)
class OperationsAccess:
    """Base URL of operations, and the token of an operator."""

    url: str
    token: str


@dataclass(frozen=True, repr=False)
class ServicesAccess:
    """Base URL of the internal listener by service, and the secrets by which the console signs its calls to it."""

    internal_urls: Mapping[str, str]
    console_secrets: Sequence[str]


@dataclass(frozen=True, repr=False)
class ArchiveAccess:
    """Access to the archive and the inboxes.

    ``service_urls``: base URL of the internal listener by service; the inbox of a service without one cannot be read.
    ``console_secrets`` sign the reads of the inboxes.
    """

    archive_url: str
    service_urls: Mapping[str, str]
    console_secrets: Sequence[str]


def find_broker() -> ManagementClient:
    """Return a client of the management API. Raises UserError if no broker is configured and no suite is running."""
    if is_set("PREBOOK_MANAGEMENT_URL"):
        given = read_settings(BrokerSettings)
        return ManagementClient(given.management_url, given.management_user, given.management_password)
    try:
        suite = read_suite_state(paths.home_dir())
    except UserError as error:
        variables = "PREBOOK_MANAGEMENT_URL, _USER and _PASSWORD (or _PASSWORD_FILE)"
        raise UserError(error.problem, f"{error.remedy}; or name a broker by {variables}") from error
    return ManagementClient(suite.management_url, suite.management_user, suite.management_password)


@asynccontextmanager
async def connect_database() -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open an administrator's connection until the block ends. Raises UserError if the database is unreachable."""
    url = (
        read_settings(DatabaseSettings).database_url
        if is_set("PREBOOK_DATABASE_URL")
        else read_suite_state(paths.home_dir()).database_url
    )
    try:
        connection = await asyncpg.connect(
            asyncpg_dsn(url), timeout=CONNECT_TIMEOUT_S, command_timeout=STATEMENT_TIMEOUT_S
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UserError(
            f"the database does not answer: {error_summary(error)}", "`prebook doctor` shows what is missing"
        ) from error


def find_archive() -> ArchiveAccess:
    """Return the configured archive, or that of the running suite. Raises UserError if there is neither."""
    if is_set("PREBOOK_ARCHIVE_URL"):
        given = read_settings(ArchiveSettings)
        return ArchiveAccess(given.archive_url, _given_internal_urls(SERVICES), given.console_secrets)
    suite = read_suite_state(paths.home_dir())
    return ArchiveAccess(suite.archive_url, suite.internal_urls, suite.signing_secrets[CONSOLE])


def find_services() -> ServicesAccess:
    """Return the configured services, or those of the running suite. Raises UserError if there are neither."""
    if are_services_configured():
        return _read_configured_services()
    suite = read_suite_state(paths.home_dir())
    return ServicesAccess(suite.internal_urls, suite.signing_secrets[CONSOLE])


def are_services_configured() -> bool:
    """Return whether PREBOOK_* variables name the services, as in a container of the console."""
    return is_set("PREBOOK_CONSOLE_SECRETS")


def archive_unreadable(error: Unreachable) -> UserError:
    """Return an error with a remedy for an archive that cannot be read."""
    remedy = "`prebook doctor` shows whether the broker responds; `prebook topology diff` shows what it lacks"
    return UserError(str(error), remedy)


def find_operations() -> OperationsAccess:
    """Return the configured operations service, or that of the running suite. Raises UserError if there is neither."""
    if is_set("PREBOOK_OPERATOR_TOKEN"):
        given = read_settings(OperationsSettings)
        return OperationsAccess(given.url_operations.rstrip("/"), given.operator_token)
    suite = read_suite_state(paths.home_dir())
    return OperationsAccess(suite.urls[OPERATIONS], suite.operator_token)


def current_user() -> str:
    """Return the name of this machine's user; in a container without one, the number of the user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid-{os.getuid()}"


def _read_configured_services() -> ServicesAccess:
    urls = _given_internal_urls(PROCESSES)
    if missing := [f"PREBOOK_INTERNAL_URL_{name.upper()}" for name in SERVICES if name not in urls]:
        raise UserError(f"{', '.join(missing)} not set", "set the base URL of each service's internal listener")
    return ServicesAccess(urls, read_settings(ConsoleSecrets).console_secrets)


def _given_internal_urls(services: Iterable[str]) -> dict[str, str]:
    """Return PREBOOK_INTERNAL_URL_<SERVICE> of each service for which it is set."""
    urls = {service: os.environ.get(f"PREBOOK_INTERNAL_URL_{service.upper()}", "") for service in services}
    return {service: url for service, url in urls.items() if url}


def is_set(variable: str) -> bool:
    """Return whether a variable, or the one that names a file with its value, is set."""
    return bool({variable, f"{variable}_FILE"} & os.environ.keys())
