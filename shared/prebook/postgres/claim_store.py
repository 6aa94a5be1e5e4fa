"""Claim store of one service on PostgreSQL: large bodies of its messages, kept until nothing needs them any more.

A body is written by the statement that writes the outbox row of its message (``flush``). Source: EIP, Claim Check.
"""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.connection import acquire
from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.postgres.state_literals import with_states
from prebook.postgres.statements import statement_factory

IN_OUTBOX = with_states(
    "EXISTS (SELECT FROM outbox WHERE outbox.message_id = checked_body.message_id"
    " AND outbox.state IN ({WAITING}, {UNDELIVERABLE}))",
    OutboxState,
)
"""SQL condition: the message has not been sent, and still may be."""
# The lifetime counts from the sending of the message, which an outage or an operator may put off.
EXTEND_UNSENT = statement_factory(OutboxState)(f"""
    UPDATE checked_body SET expires_at = now() + CAST(:lifetime AS interval)
    WHERE expires_at < now() + CAST(:lifetime AS interval) - CAST(:interval AS interval) AND {IN_OUTBOX}""")  # noqa: S608
# The retention of an expired body is 0 s: it has its own time of expiry.
PURGE_EXPIRED_BODIES = PurgeRule(purge_statement("checked_body", "expires_at", f"NOT {IN_OUTBOX}"), 0.0)


class UnsentBodies:
    """Keeps the bodies of messages that wait in the outbox."""

    def __init__(self, engine: AsyncEngine, lifetime: timedelta, interval: timedelta) -> None:
        """``interval``: time between two calls of ``extend``, which a body lives longer than its lifetime at most."""
        self._engine = engine
        self._values = {"lifetime": lifetime, "interval": interval}

    async def extend(self) -> None:
        """Let the lifetime of these bodies begin again. Raises whatever the database raises."""
        async with acquire(self._engine) as connection:
            await connection.execute_without_begin(EXTEND_UNSENT, self._values)
