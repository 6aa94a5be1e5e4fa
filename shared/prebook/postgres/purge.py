"""Forgetting: rows that are kept in case something comes again, deleted once nothing can."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.connection import in_time
from prebook.postgres.pool import limit_of

BITE = 2000
"""Rows of one statement: no lock is held, and no vacuum kept waiting, for longer than that takes."""


@dataclass(frozen=True)
class Purge:
    """``rows`` deletes at most ``:limit`` rows that are older than ``:keep_s``."""

    rows: TextClause
    keep_s: float


def oldest(table: str, age: str, where: str = "true") -> TextClause:
    """By the index on ``age``, the oldest first; what somebody holds now is left for the next time.

    By their places, as an array: joined, what is locked may be looked for again for each row of the table.
    """
    return text(f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE {where} AND {age} < now() - make_interval(secs => :keep_s)
            ORDER BY {age} LIMIT :limit FOR UPDATE SKIP LOCKED))""")  # noqa: S608 - names that stand in our code


SENT = oldest("outbox", "sent_at", "state = 'sent'")
ENDED = oldest("outbox", "ended_at", "state IN ('expired', 'discarded')")
INBOX = oldest("inbox", "received_at")


class Purging:
    """Bite by bite, each its own transaction, until nothing is due any more: it keeps up with whatever was written."""

    def __init__(self, engine: AsyncEngine, purges: Sequence[Purge]) -> None:
        self._engine, self._purges = engine.execution_options(isolation_level="AUTOCOMMIT"), purges

    async def turn(self) -> int:
        """How many rows went."""
        return sum([await self._all(purge) for purge in self._purges])

    async def _all(self, purge: Purge) -> int:
        gone, bite = 0, BITE
        while bite == BITE:
            bite = await self._bite(purge)
            gone += bite
            await asyncio.sleep(0)
        return gone

    async def _bite(self, purge: Purge) -> int:
        with in_time(limit_of(self._engine)):
            async with self._engine.connect() as connection:
                return (await connection.execute(purge.rows, {"keep_s": purge.keep_s, "limit": BITE})).rowcount
