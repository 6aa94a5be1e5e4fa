"""Backlog of a suite and its age: unsent messages in the outboxes, and requests whose reply is awaited.

Database judge: this module holds SQL on private tables of every service (outbox, pending_reply), so a migration may
break it. Age is not reported by the services, and the queues of the broker do not know it. A request stays in
pending_reply until its reply is stored, whether its message is in an outbox, in a queue or with a consumer; the age of
the oldest pending request therefore bounds the age of the messages in all three places.
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
# The oldest request of a flow is the one that is due first. A synchronous call has no outbox row and is omitted: the
# caller's timeout bounds its age.
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
    """Unsent messages and pending requests of all services at one moment."""

    outbox_rows: int
    """Unsent messages, including those scheduled for later."""
    outbox_oldest_s: float
    """Age of the oldest unsent message that is due, in seconds; 0 if there is none."""
    oldest_outbox: str
    """Service and route of the oldest unsent message; empty if there is none."""
    pending_requests: int
    """Requests whose reply is awaited."""
    pending_oldest_s: float
    """Age of the oldest pending request, in seconds; 0 if there is none."""


async def read_backlog(connection: "Connection") -> Backlog:
    """Read the backlog of all services in one statement.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError: The query or the connection failed.
        TimeoutError: The query took longer than QUERY_TIMEOUT_S seconds.
    """
    rows = await connection.fetch(STATEMENT, timeout=QUERY_TIMEOUT_S)
    outbox = [row for row in rows if row["source"] == "outbox"]
    pending = [row for row in rows if row["source"] == "pending"]
    oldest = max(outbox, key=lambda row: row["age"])
    return Backlog(
        outbox_rows=sum(row["rows"] for row in outbox),
        outbox_oldest_s=oldest["age"],
        oldest_outbox=f"{oldest['service']} {oldest['route']}" if oldest["rows"] else "",
        pending_requests=sum(row["rows"] for row in pending),
        pending_oldest_s=max(row["age"] for row in pending),
    )
