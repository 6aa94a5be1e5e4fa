"""Gauge of the dead letters that wait for an operator, by service and cause."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
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


class DeadLetterGauge:
    """Gauge ``prebook_dead_letters``. ``service`` is the owner of the queue in which a message failed."""

    def __init__(self, begin: BeginUnitOfWork[DeadLetterSql], registry: CollectorRegistry = REGISTRY) -> None:
        self._begin = begin
        self._dead_letters = Gauge(
            "prebook_dead_letters",
            "Parked messages that wait for an operator's decision, by service and cause.",
            ("service", "cause"),
            registry=registry,
        )

    async def refresh(self) -> None:
        """Read the counts from the database."""
        async with self._begin() as work:
            rows = (await work.connection.execute(COUNT_DEAD_LETTERS)).all()
        self._dead_letters.clear()
        for service, cause, messages in rows:
            self._dead_letters.labels(service, cause).set(messages)
