"""Delete rows whose retention period has passed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.connection import enforce_timeout
from prebook.postgres.pool import command_timeout_of
from prebook.postgres.state_literals import with_states
from prebook.postgres.unit_of_work import translate_errors

BATCH_ROWS = 2000
"""Rows per statement. It bounds how long locks are held and vacuum has to wait."""


@dataclass(frozen=True)
class PurgeRule:
    """Retention of one table. ``statement`` deletes at most ``:limit`` rows that are older than ``:retention_s``."""

    statement: TextClause
    retention_s: float


def purge_statement(table: str, age_column: str, where: str = "true") -> TextClause:
    """Return a statement for PurgeRule that deletes the oldest rows first, by the index on ``age_column``.

    Locked rows are left for the next run. The rows are found once, as an array of their physical positions: in a join
    they may be looked up again for each row of the table.
    """
    return text(f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE {where} AND {age_column} < now() - make_interval(secs => :retention_s)
            ORDER BY {age_column} LIMIT :limit FOR UPDATE SKIP LOCKED))""")  # noqa: S608 - names that stand in our code


PURGE_SENT = purge_statement("outbox", "sent_at", with_states("state = {SENT}", OutboxState))
PURGE_ABANDONED = purge_statement(
    "outbox", "abandoned_at", with_states("state IN ({EXPIRED}, {DISCARDED})", OutboxState)
)
PURGE_INBOX = purge_statement("inbox", "received_at")


class Purger:
    """Deletes in batches, each in its own transaction, until no row is due."""

    def __init__(self, engine: AsyncEngine, rules: Sequence[PurgeRule]) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._rules = rules

    async def purge_due(self) -> int:
        """Apply every rule; return the number of deleted rows."""
        return sum([await self._purge_all(purge) for purge in self._rules])

    async def _purge_all(self, rule: PurgeRule) -> int:
        deleted = 0
        batch = BATCH_ROWS
        while batch == BATCH_ROWS:
            batch = await self._purge_batch(rule)
            deleted += batch
            await asyncio.sleep(0)
        return deleted

    async def _purge_batch(self, rule: PurgeRule) -> int:
        with translate_errors(self._engine), enforce_timeout(command_timeout_of(self._engine)):
            async with self._engine.connect() as connection:
                return (
                    await connection.execute(rule.statement, {"retention_s": rule.retention_s, "limit": BATCH_ROWS})
                ).rowcount
