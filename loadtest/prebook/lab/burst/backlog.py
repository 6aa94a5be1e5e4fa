"""Backlog of a suite and its age, read from the database: outboxes, and pending requests.

A request stays in ``pending_reply`` until its reply is in, wherever it lies meanwhile: its age is that of the oldest
message in outbox, queue or hand.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prebook.flows import SERVICES

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

SELECT_OUTBOX = """
    SELECT count(*) AS rows,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE not_before <= now() OR failures > 0)), 0) AS age,
        coalesce((array_agg(route || CASE WHEN failures > 0 THEN ', tried ' || failures ELSE '' END ORDER BY seq)
            FILTER (WHERE not_before <= now() OR failures > 0))[1], '') AS route
    FROM {0}.outbox WHERE state = 'waiting'"""
# The oldest of each flow is the one that is due first. A call that needed no message has no row in the outbox: it is
# over within a time-out, and is not looked at here.
SELECT_PENDING_REPLIES = """
    SELECT (SELECT count(*) FROM {0}.pending_reply) AS rows,
        coalesce(max(extract(epoch FROM now() - created_at)), 0) AS age, '' AS route
    FROM (SELECT DISTINCT flow FROM {0}.pending_reply) AS flows CROSS JOIN LATERAL (
        SELECT o.created_at FROM {0}.pending_reply AS a JOIN {0}.outbox AS o ON o.message_id = a.request_id
        WHERE a.flow = flows.flow ORDER BY a.due_at LIMIT 1) AS first"""
SELECT_SERVICE = "SELECT '{0}' AS source, '{2}' AS service, route, rows, age::float8 FROM ({1}) AS {0}_{2}"
STATEMENT = " UNION ALL ".join(
    SELECT_SERVICE.format(source, query.format(service), service)
    for source, query in (("outbox", SELECT_OUTBOX), ("pending", SELECT_PENDING_REPLIES))
    for service in SERVICES
)
QUERY_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Backlog:
    outbox_rows: int
    outbox_oldest_s: float
    oldest_outbox: str
    """Service and route of the oldest."""
    pending_requests: int
    pending_oldest_s: float

    @property
    def is_empty(self) -> bool:
        return not (self.outbox_rows or self.pending_requests)


async def read_backlog(connection: "Connection") -> Backlog:
    """Raises asyncpg's errors, or TimeoutError."""
    rows = await connection.fetch(STATEMENT, timeout=QUERY_TIMEOUT_S)
    outbox, pending = ([row for row in rows if row["source"] == source] for source in ("outbox", "pending"))
    oldest = max(outbox, key=lambda row: row["age"])
    return Backlog(
        outbox_rows=sum(row["rows"] for row in outbox),
        outbox_oldest_s=oldest["age"],
        oldest_outbox=f"{oldest['service']} {oldest['route']}" if oldest["rows"] else "",
        pending_requests=sum(row["rows"] for row in pending),
        pending_oldest_s=max(row["age"] for row in pending),
    )
