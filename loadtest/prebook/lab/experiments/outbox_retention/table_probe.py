"""Probes of an outbox table: its size, and the cost of a claim."""

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
    """Size of the outbox; ``dead_rows`` is the server's estimate, ``vacuums`` its number of autovacuum runs."""

    rows: int
    table_bytes: int
    index_bytes: int
    dead_rows: int
    vacuums: int

    @property
    def total_bytes(self) -> int:
        """Bytes of table and indexes."""
        return self.table_bytes + self.index_bytes


class ClaimCost(msgspec.Struct, frozen=True, kw_only=True):
    """Median cost of a claim of a full batch.

    ``pages`` counts 8 KiB pages, cached or read. Unlike milliseconds, pages do not depend on other load on the machine.
    """

    pages: float
    ms: float


async def read_table_size(connection: "asyncpg.Connection[asyncpg.Record]") -> OutboxTableSize:
    """Read the size of the outbox in the connection's schema. Raises LookupError if there is none."""
    row = await connection.fetchrow(SELECT_SIZE)
    if row is None:
        raise LookupError("there is no table outbox")
    return OutboxTableSize(**row)


async def measure_claim_cost(
    connection: "asyncpg.Connection[asyncpg.Record]", enqueue: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> ClaimCost:
    """Measure CLAIM_SAMPLES claims while no one else claims.

    ``enqueue`` adds a number of rows; ``outbox``, with OWNER as its owner, marks the claimed ones as sent.
    """
    plans = [await _explain_claim(connection, enqueue, outbox) for _ in range(CLAIM_SAMPLES)]
    pages = [float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]) for plan in plans]
    return ClaimCost(pages=median(pages), ms=round(median(plan["Actual Total Time"] for plan in plans), 2))


async def _explain_claim(
    connection: "asyncpg.Connection[asyncpg.Record]", enqueue: Callable[[int], Awaitable[None]], outbox: SqlOutbox
) -> dict[str, float]:
    await enqueue(MAX_CLAIMED_ROWS)
    (explained,) = json.loads(await connection.fetchval(EXPLAIN_CLAIM))
    await outbox.mark_sent([row["seq"] for row in await connection.fetch(SELECT_CLAIMED)])
    plan: dict[str, float] = explained["Plan"]
    return plan
