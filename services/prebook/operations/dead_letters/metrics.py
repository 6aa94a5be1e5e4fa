"""Gauge of the dead letters that wait for an operator, created at import: one process runs one service."""

from prometheus_client import Gauge
from sqlalchemy import text

from prebook.contracts.dead_letters import DeadLetterState
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.dead_letters.sql import DeadLetterSql
from prebook.postgres.state_literals import with_states

# The index dead_letter_groups serves this query alone, so the rows with their payloads are not read.
COUNT_DEAD_LETTERS = text(
    with_states(
        "SELECT split_part(queue, '.', 1), cause, count(*) FROM dead_letter WHERE state = {PARKED} GROUP BY 1, 2",
        DeadLetterState,
    )
)


_DEAD_LETTERS = Gauge(
    "prebook_dead_letters",
    "Parked messages that wait for an operator's decision, by service and cause.",
    ("service", "cause"),
)


async def refresh_dead_letters(begin: BeginUnitOfWork[DeadLetterSql]) -> None:
    """Set the gauge to the counts in the database; its ``service`` owns the queue in which a message failed."""
    async with begin() as work:
        rows = (await work.connection.execute(COUNT_DEAD_LETTERS)).all()
    _DEAD_LETTERS.clear()
    for service, cause, messages in rows:
        _DEAD_LETTERS.labels(service, cause).set(messages)
