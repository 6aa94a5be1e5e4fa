"""How large an outbox is, and what a claim of it costs."""

import json
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from prebook.messaging.outbox.sender import MAX_CLAIMED_ROWS
from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.outbox import SqlOutbox

if TYPE_CHECKING:
    import asyncpg

CLAIM_SAMPLES = 7
OWNER = "lab relay"
SELECT_SIZE = """
    SELECT pg_table_size('outbox') AS table_bytes, pg_indexes_size('outbox') AS index_bytes,
        (SELECT count(*) FROM outbox) AS rows, n_dead_tup AS dead_rows, autovacuum_count AS vacuums
    FROM pg_stat_user_tables WHERE relid = 'outbox'::regclass"""
EXPLAIN_CLAIM = f"""
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT * FROM claim_outbox('{OWNER}', {MAX_CLAIMED_ROWS}, interval '60 s', '{{}}', '{{}}')"""  # noqa: S608 - a number
SELECT_CLAIMED = f"SELECT seq FROM outbox WHERE state = '{OutboxState.WAITING}' AND claimed_by = '{OWNER}'"  # noqa: S608 - constants


class OutboxTableSize(msgspec.Struct, frozen=True, kw_only=True):
    """``dead_rows`` is the server's own estimate; ``vacuums``, how often it has cleaned up by itself."""

    rows: int
    table_bytes: int
    index_bytes: int
    dead_rows: int
    vacuums: int

    @property
    def total_bytes(self) -> int:
        return self.table_bytes + self.index_bytes


class ClaimCost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one claim of a full batch, the median of several. ``pages`` are 8 KiB each, found in memory or not.

    Milliseconds depend on what else the machine does; pages do not.
    """

    pages: float
    ms: float


async def read_table_size(connection: "asyncpg.Connection[asyncpg.Record]") -> OutboxTableSize:
    found = await connection.fetchrow(SELECT_SIZE)
    if found is None:
        raise LookupError("there is no table outbox")
    return OutboxTableSize(**found)


async def measure_claim_cost(
    connection: "asyncpg.Connection[asyncpg.Record]", enqueue: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> ClaimCost:
    """``enqueue`` makes rows; nobody else claims meanwhile. ``outbox``, OWNER's, marks them as sent."""
    plans = [await _explain_claim(connection, enqueue, outbox) for _ in range(CLAIM_SAMPLES)]
    pages = [float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]) for plan in plans]
    return ClaimCost(pages=median(pages), ms=round(median(plan["Actual Total Time"] for plan in plans), 2))


async def _explain_claim(
    connection: "asyncpg.Connection[asyncpg.Record]", enqueue: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> dict[str, float]:
    await enqueue(MAX_CLAIMED_ROWS)
    (told,) = json.loads(await connection.fetchval(EXPLAIN_CLAIM))
    await outbox.mark_sent([row["seq"] for row in await connection.fetch(SELECT_CLAIMED)])
    plan: dict[str, float] = told["Plan"]
    return plan
