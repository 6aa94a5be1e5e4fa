"""How large an outbox is, and what a claim of it costs."""

import json
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from prebook.messaging.outbox.sender import BATCH
from prebook.postgres.outbox import SqlOutbox

if TYPE_CHECKING:
    import asyncpg

PROBES = 7
OWNER = "lab relay"
SIZE = """
    SELECT pg_table_size('outbox') AS table_bytes, pg_indexes_size('outbox') AS index_bytes,
        (SELECT count(*) FROM outbox) AS rows, n_dead_tup AS dead_rows, autovacuum_count AS vacuums
    FROM pg_stat_user_tables WHERE relid = 'outbox'::regclass"""
CLAIM = f"""
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT * FROM claim_outbox('{OWNER}', {BATCH}, interval '60 s', '{{}}', '{{}}')"""  # noqa: S608 - a number
CLAIMED = f"SELECT seq FROM outbox WHERE state = 'waiting' AND claimed_by = '{OWNER}'"  # noqa: S608 - a constant


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """``dead_rows`` is the server's own estimate; ``vacuums``, how often it has cleaned up by itself."""

    rows: int
    table_bytes: int
    index_bytes: int
    dead_rows: int
    vacuums: int

    @property
    def total_bytes(self) -> int:
        return self.table_bytes + self.index_bytes


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one claim of a full batch, the median of several. ``pages`` are 8 KiB each, found in memory or not.

    Milliseconds depend on what else the machine does; pages do not.
    """

    pages: float
    ms: float


async def size(connection: "asyncpg.Connection[asyncpg.Record]") -> Size:
    found = await connection.fetchrow(SIZE)
    if found is None:
        raise LookupError("there is no table outbox")
    return Size(**found)


async def cost(
    connection: "asyncpg.Connection[asyncpg.Record]", stage: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> Cost:
    """``stage`` makes rows; nobody else claims meanwhile. ``outbox``, OWNER's, marks them as sent."""
    plans = [await _claim(connection, stage, outbox) for _ in range(PROBES)]
    pages = [float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]) for plan in plans]
    return Cost(pages=median(pages), ms=round(median(plan["Actual Total Time"] for plan in plans), 2))


async def _claim(
    connection: "asyncpg.Connection[asyncpg.Record]", stage: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> dict[str, float]:
    await stage(BATCH)
    (told,) = json.loads(await connection.fetchval(CLAIM))
    await outbox.sent([row["seq"] for row in await connection.fetch(CLAIMED)])
    plan: dict[str, float] = told["Plan"]
    return plan
