"""Metrics of dead letters, created at import: one process runs one service.

Queue and cause come from headers that any publisher of the broker can write. A label is therefore a value of the model
or ``unknown``; the list of dead letters has the values themselves.
"""

from collections import Counter as Totals

from prometheus_client import Counter, Gauge
from sqlalchemy import text

from prebook.contracts.dead_letters import DeadLetterState
from prebook.flows import ALL_FLOWS, PROCESSES
from prebook.messaging import addresses
from prebook.messaging.body_codec import MALFORMED_CAUSES, UNKNOWN_CONTENT_TYPE_CAUSE
from prebook.messaging.codec import UNDECODABLE_CAUSE
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.dead_letters.sql import DeadLetterSql
from prebook.postgres.state_literals import with_states
from prebook.runtime.telemetry import UNKNOWN

# The index dead_letter_groups serves this query alone, so the rows with their payloads are not read.
COUNT_DEAD_LETTERS = text(
    with_states(
        "SELECT split_part(queue, '.', 1), cause, count(*) FROM dead_letter WHERE state = {PARKED} GROUP BY 1, 2",
        DeadLetterState,
    )
)
CAUSES = frozenset(
    {
        "attempts_exhausted",
        "bad_header",
        *MALFORMED_CAUSES.values(),
        "bad_row",
        "claim_corrupted",
        "claim_missing",
        "dead_lettered",
        "enrichment_missing",
        "forbidden_sender",
        "forbidden_target",
        "foreign_id",
        "garbled",
        "missing_header",
        "delivery_limit",
        "expired",
        "no_handler",
        "permanent",
        "retry_refused",
        "target_gone",
        "too_large",
        UNDECODABLE_CAUSE,
        "unexpected_type",
        UNKNOWN_CONTENT_TYPE_CAUSE,
        UNKNOWN,
        "unknown_auction",
        "unknown_booking",
        "unknown_trip",
        "unknown_type",
        "unknown_version",
        "unreadable",
        "wrong_schema",
    }
)
"""Causes for which the services dead-letter a message, and those that operations finds."""
_DEAD_LETTERS = Gauge(
    "prebook_dead_letters",
    "Parked messages that wait for an operator's decision, by service and cause.",
    ("service", "cause"),
)
_EXPIRED_REQUESTS = Counter(
    "prebook_requests_expired_in_queue",
    "Requests whose deadline passed in their queue; they are dropped, because no caller waits for a reply.",
    ("queue",),
)


def count_expired_request(queue: str) -> None:
    """Count a request that expired in ``queue``."""
    request_queues = (addresses.request_queue, addresses.one_way_request_queue)
    known = {name(flow.provider, flow.name) for flow in ALL_FLOWS for name in request_queues}
    _EXPIRED_REQUESTS.labels(queue if queue in known else UNKNOWN).inc()


async def refresh_dead_letters(begin: BeginUnitOfWork[DeadLetterSql]) -> None:
    """Set the gauge to the counts in the database; its ``service`` owns the queue in which a message failed."""
    async with begin() as work:
        rows = (await work.connection.execute(COUNT_DEAD_LETTERS)).all()
    totals: Totals[tuple[str, str]] = Totals()
    for service, cause, messages in rows:
        totals[service if service in PROCESSES else UNKNOWN, cause if cause in CAUSES else UNKNOWN] += messages
    _DEAD_LETTERS.clear()
    for (service, cause), messages in totals.items():
        _DEAD_LETTERS.labels(service, cause).set(messages)
