"""How many messages are parked, by the service that could not handle them and by cause."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from sqlalchemy import text

from prebook.messaging.unit_of_work import Begin
from prebook.operations.sql import OperationsSql

# By the index that grouping reads: the rows with their payloads are not looked at.
PARKED = text("""
    SELECT split_part(queue, '.', 1), cause, count(*) FROM parked WHERE state = 'parked' GROUP BY 1, 2""")


class ParkedGauge:
    def __init__(self, begin: Begin[OperationsSql], registry: CollectorRegistry = REGISTRY) -> None:
        self._begin = begin
        self._parked = Gauge(
            "prebook_parked", "Messages that wait for a decision", ("service", "cause"), registry=registry
        )

    async def read(self) -> None:
        """Bring it up to date."""
        async with self._begin() as work:
            found = (await work.connection.execute(PARKED)).all()
        self._parked.clear()
        for service, cause, messages in found:
            self._parked.labels(service, cause).set(messages)
