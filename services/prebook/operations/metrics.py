"""How many messages are parked, by the service that could not handle them and by cause."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from sqlalchemy import text

from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.sql import OperationsSql

# By the index that grouping reads: the rows with their payloads are not looked at.
COUNT_DEAD_LETTERS = text("""
    SELECT split_part(queue, '.', 1), cause, count(*) FROM parked WHERE state = 'parked' GROUP BY 1, 2""")


class DeadLetterGauge:
    def __init__(self, begin: BeginUnitOfWork[OperationsSql], registry: CollectorRegistry = REGISTRY) -> None:
        self._begin = begin
        self._dead_letters = Gauge(
            "prebook_dead_letters",
            "Parked messages that wait for an operator's decision, by service and cause.",
            ("service", "cause"),
            registry=registry,
        )

    async def refresh(self) -> None:
        """Bring it up to date."""
        async with self._begin() as work:
            found = (await work.connection.execute(COUNT_DEAD_LETTERS)).all()
        self._dead_letters.clear()
        for service, cause, messages in found:
            self._dead_letters.labels(service, cause).set(messages)
