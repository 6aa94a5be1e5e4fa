"""Broker and database of a suite, started concurrently and stopped together."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prebook.asyncio_tools import first_error_task_group, wait_uncancelled
from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.providers import (
    ProviderContext,
    choose_broker_provider,
    choose_database_provider,
    read_stack_mode,
)
from prebook.devstack.servers import Broker, BrokerServer, Database, DatabaseServer, Log, ServerProcess


@dataclass(frozen=True, kw_only=True, repr=False)
class Stack:
    """Broker and database of a suite.

    ``mode`` is local, docker, mixed or external: who runs the servers. ``data_dir`` is removed with them.

    ``processes`` are the servers' processes that are children of this one, by name: broker, broker-2, database; none in
    a container.
    """

    mode: str
    broker: Broker
    database: Database
    data_dir: Path
    processes: Mapping[str, ServerProcess] = field(default_factory=dict)

    @property
    def broker_description(self) -> str:
        """Name and version, such as ``RabbitMQ 4.0.5``."""
        return f"{self.broker.name} {self.broker.version}"

    @property
    def database_description(self) -> str:
        """Name and version, such as ``PostgreSQL 17.2``."""
        return f"{self.database.name} {self.database.version}"


@asynccontextmanager
async def start_stack(log: Log, env: Mapping[str, str] = os.environ, *, broker_nodes: int = 1) -> AsyncIterator[Stack]:
    """Start broker and database as PREBOOK_STACK says, until the block ends; both are ready. Raises UserError."""
    mode = read_stack_mode(env)
    broker_provider = await choose_broker_provider(mode, env, broker_nodes)
    database_provider = await choose_database_provider(mode, env)
    with create_data_dir() as data_dir:
        context = ProviderContext(data_dir, log, env, broker_nodes)
        broker = broker_provider.create(context)
        database = database_provider.create(context)
        try:
            ready = await _start_both(broker, database)
            same = broker_provider.mode == database_provider.mode
            yield Stack(
                mode=broker_provider.mode if same else "mixed",
                broker=ready[0],
                database=ready[1],
                data_dir=data_dir,
                processes=_by_name("broker", broker.processes) | _by_name("database", database.processes),
            )
        finally:
            await wait_uncancelled(asyncio.gather(broker.stop(), database.stop(), return_exceptions=True))


def _by_name(role: str, processes: Sequence[ServerProcess]) -> dict[str, ServerProcess]:
    """Return processes by name: broker, broker-2, broker-3."""
    return {role if number == 1 else f"{role}-{number}": process for number, process in enumerate(processes, 1)}


async def _start_both(broker: BrokerServer, database: DatabaseServer) -> tuple[Broker, Database]:
    async with first_error_task_group() as both:
        starting_broker = both.create_task(broker.start())
        starting_database = both.create_task(database.start())
    return starting_broker.result(), starting_database.result()
