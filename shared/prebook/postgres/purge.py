"""Forgetting: rows that are kept in case something comes again, deleted once nothing can."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.connection import enforce_timeout
from prebook.postgres.pool import command_timeout_of

BATCH_ROWS = 2000
"""Rows of one statement: no lock is held, and no vacuum kept waiting, for longer than that takes."""


@dataclass(frozen=True)
class PurgeRule:
    """``rows`` deletes at most ``:limit`` rows that are older than ``:keep_s``."""

    statement: TextClause
    retention_s: float


def purge_statement(table: str, age_column: str, where: str = "true") -> TextClause:
    """By the index on ``age``, the oldest first; what somebody holds now is left for the next time.

    By their places, as an array: joined, what is locked may be looked for again for each row of the table.
    """
    return text(f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE {where} AND {age_column} < now() - make_interval(secs => :keep_s)
            ORDER BY {age_column} LIMIT :limit FOR UPDATE SKIP LOCKED))""")  # noqa: S608 - names that stand in our code


PURGE_SENT = purge_statement("outbox", "sent_at", "state = 'sent'")
PURGE_ABANDONED = purge_statement("outbox", "ended_at", "state IN ('expired', 'discarded')")
PURGE_INBOX = purge_statement("inbox", "received_at")


class Purger:
    """Bite by bite, each its own transaction, until nothing is due any more: it keeps up with whatever was written."""

    def __init__(self, engine: AsyncEngine, rules: Sequence[PurgeRule]) -> None:
        self._engine, self._rules = engine.execution_options(isolation_level="AUTOCOMMIT"), rules

    async def purge_due(self) -> int:
        """How many rows went."""
        return sum([await self._purge_all(purge) for purge in self._rules])

    async def _purge_all(self, rule: PurgeRule) -> int:
        gone, bite = 0, BATCH_ROWS
        while bite == BATCH_ROWS:
            bite = await self._purge_batch(rule)
            gone += bite
            await asyncio.sleep(0)
        return gone

    async def _purge_batch(self, rule: PurgeRule) -> int:
        with enforce_timeout(command_timeout_of(self._engine)):
            async with self._engine.connect() as connection:
                return (
                    await connection.execute(rule.statement, {"keep_s": rule.retention_s, "limit": BATCH_ROWS})
                ).rowcount
