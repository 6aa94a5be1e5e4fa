"""Both parts, started side by side and stopped together, whatever happens in between."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.polling import wait_uncancelled
from prebook.devstack.providers import (
    ProviderContext,
    choose_broker_provider,
    choose_database_provider,
    read_stack_mode,
)
from prebook.devstack.servers import Broker, BrokerServer, Database, DatabaseServer, Log, ServerProcess, Stack


@asynccontextmanager
async def start_stack(log: Log, env: Mapping[str, str] = os.environ, *, broker_nodes: int = 1) -> AsyncIterator[Stack]:
    """Broker and database as PREBOOK_STACK wants them, ready. Raises Trouble; leaves nothing behind."""
    wanted = read_stack_mode(env)
    broker_by, database_by = (
        await choose_broker_provider(wanted, env, broker_nodes),
        await choose_database_provider(wanted, env),
    )
    with create_data_dir() as data:
        ground = ProviderContext(data, log, env, broker_nodes)
        broker, database = broker_by.create(ground), database_by.create(ground)
        try:
            ready = await _start_both(broker, database)
            same = broker_by.mode == database_by.mode
            yield Stack(
                mode=broker_by.mode if same else "mixed",
                broker=ready[0],
                database=ready[1],
                data_dir=data,
                processes=_by_name("broker", broker.processes) | _by_name("database", database.processes),
            )
        finally:
            await wait_uncancelled(asyncio.gather(broker.stop(), database.stop(), return_exceptions=True))


def _by_name(role: str, processes: Sequence[ServerProcess]) -> dict[str, ServerProcess]:
    """broker, broker-2, broker-3."""
    return {role if number == 1 else f"{role}-{number}": member for number, member in enumerate(processes, 1)}


async def _start_both(broker: BrokerServer, database: DatabaseServer) -> tuple[Broker, Database]:
    try:
        async with asyncio.TaskGroup() as both:
            first, second = both.create_task(broker.start()), both.create_task(database.start())
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return first.result(), second.result()
