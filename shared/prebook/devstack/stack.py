"""Both parts, started side by side and stopped together, whatever happens in between."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prebook.devstack.filesystem import data_dir
from prebook.devstack.polling import to_the_end
from prebook.devstack.providers import Ground, broker_rung, database_rung, mode
from prebook.devstack.servers import Broker, BrokerPart, Database, DatabasePart, Member, Parts, Say


@asynccontextmanager
async def parts(say: Say, env: Mapping[str, str] = os.environ, *, broker_nodes: int = 1) -> AsyncIterator[Parts]:
    """Broker and database as PREBOOK_STACK wants them, ready. Raises Trouble; leaves nothing behind."""
    wanted = mode(env)
    broker_by, database_by = await broker_rung(wanted, env, broker_nodes), await database_rung(wanted, env)
    with data_dir() as data:
        ground = Ground(data, say, env, broker_nodes)
        broker, database = broker_by.part(ground), database_by.part(ground)
        try:
            ready = await _started(broker, database)
            same = broker_by.mode == database_by.mode
            yield Parts(
                mode=broker_by.mode if same else "mixed",
                broker=ready[0],
                database=ready[1],
                data_dir=data,
                ours=_named("broker", broker.members) | _named("database", database.members),
            )
        finally:
            await to_the_end(asyncio.gather(broker.stop(), database.stop(), return_exceptions=True))


def _named(part: str, members: Sequence[Member]) -> dict[str, Member]:
    """broker, broker-2, broker-3."""
    return {part if number == 1 else f"{part}-{number}": member for number, member in enumerate(members, 1)}


async def _started(broker: BrokerPart, database: DatabasePart) -> tuple[Broker, Database]:
    try:
        async with asyncio.TaskGroup() as both:
            first, second = both.create_task(broker.start()), both.create_task(database.start())
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return first.result(), second.result()
