"""The testbed of an experiment: broker and database set up as for the suite, without running services."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import asyncpg

from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.prepared_stack import prepare_stack
from prebook.devstack.providers import StackMode, read_stack_mode
from prebook.devstack.service_environment import SuiteOptions, count_ports
from prebook.devstack.stack import Stack
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging.policy import retry_delays_s
from prebook.postgres.dsn import asyncpg_dsn
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.runtime.settings import read_settings
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology

CAMPAIGN_TABLE = "pricing.campaign"
"""The only table of a service with a row that the schema puts there."""
SELECT_TABLES = "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = ANY($1::text[])"
SELECT_FUNCTIONS = """
    SELECT oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace::regnamespace::text = ANY($1::text[])"""
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
    options: SuiteOptions
    """Ports and credentials of the services, for an experiment that runs some of them."""

    @asynccontextmanager
    async def isolate(self, topology: Topology) -> AsyncIterator[None]:
        """Declare ``topology`` in addition to the suite's, and leave broker and database clean after the block.

        Raises:
            UserError: The broker refused, or could not be reached.
        """
        tables = await self._list(SELECT_TABLES)
        functions = await self._list(SELECT_FUNCTIONS)
        try:
            await self._declare(topology)
            yield
        finally:
            await self._delete_queues(topology)
            await self._drop("FUNCTION", await self._list(SELECT_FUNCTIONS) - functions)
            await self._drop("TABLE", await self._list(SELECT_TABLES) - tables)
            await self.empty_tables()

    async def _declare(self, topology: Topology) -> None:
        """Declare ``topology`` with that of the suite: the permissions of an account replace those that it had."""
        broker = self.stack.broker
        _, policies = read_settings(self.context.envs[SERVICES[0]])
        suite = suite_topology(retry_delays_s(policies))
        try:
            async with ManagementClient(broker.management_url, broker.user, broker.password) as management:
                await management.declare(suite | topology, {})
        except (BrokerUnreachable, BrokerRefused) as error:
            raise UserError(str(error), "try again while the machine is less busy") from error

    async def _delete_queues(self, topology: Topology) -> None:
        """Delete the queues of ``topology`` and its own exchanges, and purge those of the suite, except streams."""
        suite = suite_topology(())
        async with await aio_pika.connect(self.stack.broker.amqp_url) as connection:
            channel = await connection.channel()
            for exchange in topology.exchanges - suite.exchanges:
                await channel.exchange_delete(exchange.name)
            for queue in topology.queues - suite.queues:
                await channel.queue_delete(queue.name)
            for queue in suite.queues:
                if ("x-queue-type", "stream") not in queue.arguments:
                    await (await channel.get_queue(queue.name, ensure=False)).purge()

    async def _list(self, statement: str) -> frozenset[str]:
        async with connect_as_admin(self.context.database_url) as database:
            return frozenset(row["name"] for row in await database.fetch(statement, list(PROCESSES)))

    async def _drop(self, kind: str, names: frozenset[str]) -> None:
        """Drop what an experiment has created, with the triggers that call its functions."""
        async with connect_as_admin(self.context.database_url) as database:
            for name in names:
                await database.execute(f"DROP {kind} {name} CASCADE")

    async def empty_tables(self) -> None:
        """Delete all messages and rides from the tables of the services."""
        tables = await self._list(SELECT_TABLES) - {CAMPAIGN_TABLE}
        async with connect_as_admin(self.context.database_url) as database:
            await database.execute(f"TRUNCATE {', '.join(sorted(tables))} CASCADE")


@asynccontextmanager
async def start_testbed() -> AsyncIterator[ExperimentTestbed]:
    """Start broker and database, declare topology and schema, and stop both after the block.

    Raises:
        UserError: startup failed, or PREBOOK_STACK names servers that the lab does not own.
    """
    if read_stack_mode() is StackMode.EXTERNAL:
        raise UserError("the lab runs experiments only on its own broker and database", "unset PREBOOK_STACK")
    options = SuiteOptions(ports=allocate_ports(count_ports()))
    async with prepare_stack(log_to_stderr, options, "lab") as prepared:
        stack = prepared.stack
        context = ExperimentContext(stack.database.url, prepared.service_environments, prepared.directory)
        yield ExperimentTestbed(stack, context, options)


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
