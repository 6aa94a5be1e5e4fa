"""The testbed of an experiment: broker and database set up as for the suite, without running services."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.prepared_stack import prepare_stack
from prebook.devstack.providers import StackMode, read_stack_mode
from prebook.devstack.service_environment import SuiteOptions, count_ports
from prebook.devstack.stack import Stack
from prebook.postgres.dsn import asyncpg_dsn
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.topology.values import Topology

UNUSED_PORTS = tuple(range(1024, 1024 + count_ports()))
"""Different ports in the service environments; no experiment listens on them or calls them."""
RETRY_HINT = "this run is inconclusive; try again while the machine is less busy"


@dataclass(frozen=True)
class ExperimentContext:
    """Empty database, environment of each service, and working directory of an experiment."""

    database_url: str
    envs: Mapping[str, Mapping[str, str]]
    work_dir: Path


@dataclass(frozen=True)
class ExperimentTestbed:
    """Broker and database of an experiment. Worker processes use the database roles and broker users of services."""

    stack: Stack
    context: ExperimentContext

    async def declare(self, topology: Topology) -> None:
        """Declare queues and exchanges in addition to the suite's. Raises UserError."""
        broker = self.stack.broker
        try:
            async with ManagementClient(broker.management_url, broker.user, broker.password) as management:
                await management.declare(topology, {})
        except (BrokerUnreachable, BrokerRefused) as error:
            raise UserError(str(error), "try again while the machine is less busy") from error


@asynccontextmanager
async def start_testbed() -> AsyncIterator[ExperimentTestbed]:
    """Start broker and database, declare topology and schema, and stop both after the block.

    Raises:
        UserError: startup failed, or PREBOOK_STACK names servers that the lab does not own.
    """
    if read_stack_mode() is StackMode.EXTERNAL:
        raise UserError("the lab runs experiments only on its own broker and database", "unset PREBOOK_STACK")
    async with prepare_stack(log_to_stderr, SuiteOptions(ports=UNUSED_PORTS), "lab") as prepared:
        stack = prepared.stack
        context = ExperimentContext(stack.database.url, prepared.service_environments, prepared.directory)
        yield ExperimentTestbed(stack, context)


@asynccontextmanager
async def connect_as_admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open an administrator's connection for the block."""
    connection = await asyncpg.connect(asyncpg_dsn(database_url), timeout=5)
    try:
        yield connection
    finally:
        await connection.close()


def stack_versions(stack: Stack) -> dict[str, str]:
    """Return mode, broker version and database version, for a report."""
    return {"mode": stack.mode, "broker": stack.broker_description, "database": stack.database_description}
