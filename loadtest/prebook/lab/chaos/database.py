"""State of the run's bookings in the services' private tables, for the judge of a chaos run.

Database judge: this module holds SQL on private tables of every service, so a migration may break it. The lab reads all
else over the wire. The exception exists because a service that miscounts would also misreport: the judge compares what
services report with the rows that they wrote. tests/architecture lists the modules that may do so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prebook.flows import SERVICES
from prebook.lab.suite_client.database import DATABASE_ERRORS, SEE_LOG, DatabaseUnreadable, connect

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

SELECT_HISTORY = """
    SELECT id, ARRAY(SELECT change ->> 'state' FROM jsonb_array_elements(history) WITH ORDINALITY AS h (change, n)
        ORDER BY n) AS states FROM booking.booking WHERE id = ANY($1)"""
SELECT_DISCOUNTS = "SELECT booking_id, state FROM pricing.discount_grant WHERE booking_id = ANY($1)"
SELECT_CAMPAIGN = """
    SELECT coalesce(sum(granted), 0) AS granted_count,
        (SELECT count(*) FROM pricing.discount_grant WHERE state = 'granted') AS granted_rows
    FROM pricing.campaign"""
SELECT_ASSIGNED = "SELECT booking_id, driver, slot FROM matching.assignment WHERE booking_id = ANY($1)"
SELECT_RESERVED = (
    "SELECT booking_id, driver, slot FROM fleets.reservation WHERE booking_id = ANY($1) AND state = 'booked'"
)
SELECT_NOTICES = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY id"
# Messages still to be sent, and requests whose reply is still awaited.
SELECT_PENDING = """
    SELECT conversation_id, message_id FROM {0}.outbox WHERE conversation_id = ANY($1) AND state = 'waiting'
    UNION ALL SELECT conversation_id, request_id FROM {0}.pending_reply WHERE conversation_id = ANY($1)"""
SELECT_ABANDONED = """
    SELECT conversation_id, message_id, coalesce(last_error, '') AS error FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state NOT IN ('waiting', 'sent', 'expired')"""
# Messages of one ordering key on one route are sent in the order of their insertion (seq). Rows that were
# inserted with a later not_before are excluded: rows inserted after them may be due earlier.
SELECT_SEND_ORDER = """
    SELECT conversation_id, message_id, sent_at < max(sent_at) OVER (
        PARTITION BY route, ordering_key ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS overtaken
    FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state = 'sent' AND ordering_key <> ''
        AND NOT (failures = 0 AND not_before > created_at + interval '0.5 s')"""


class DriverAssignment(NamedTuple):
    """A driver's slot that a service's rows give to a booking. ``slot``: ISO 8601 start of the slot."""

    booking_id: str
    driver: str
    slot: str


class MessageTrace(NamedTuple):
    """A message or pending request in the tables of ``service``. ``error``: last send error, empty if none."""

    service: str
    booking_id: str
    message_id: str
    error: str = ""


@dataclass(frozen=True)
class DatabaseState:
    """Rows of the run's bookings, and two totals of the discount campaign over all bookings."""

    histories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """States of each booking id, oldest first."""
    discounts: Mapping[str, str] = field(default_factory=dict)
    """State of the discount grant of each booking id."""
    granted_count: int = 0
    """Discounts granted according to the counter of the campaign."""
    granted_rows: int = 0
    """Discounts granted according to the grant rows."""
    assigned: Sequence[DriverAssignment] = ()
    """Drivers' slots in the rows of matching."""
    reserved: Sequence[DriverAssignment] = ()
    """Drivers' slots in the rows of fleets."""
    notices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Notices of each booking id in the order of their delivery to the rider."""
    pending: Sequence[MessageTrace] = ()
    """Messages still to be sent, and requests whose reply is still awaited."""
    abandoned: Sequence[MessageTrace] = ()
    """Messages that the relay will never send."""
    overtaken: Sequence[MessageTrace] = ()
    """Messages sent before an earlier message of the same ordering key and route."""
    ordered_messages: int = 0
    """Number of sent messages whose order was checked."""


async def read_state(database_url: str, bookings: Collection[str]) -> DatabaseState:
    """Return the state of ``bookings`` (ids). ``database_url`` is an administrator's.

    Raises:
        DatabaseUnreadable: The database cannot be reached, or a query failed.
    """
    async with connect(database_url) as connection:
        try:
            return await _read_state(connection, list(bookings))
        except DATABASE_ERRORS as error:
            raise DatabaseUnreadable(f"the tables cannot be read ({error})", SEE_LOG) from error


async def is_at_rest(database_url: str, bookings: Collection[str]) -> bool:
    """Return whether no outbox holds an unsent message of ``bookings`` and no service awaits a reply for them.

    Raises:
        DatabaseUnreadable: The database cannot be reached.
    """
    async with connect(database_url) as connection:
        for service in SERVICES:
            if await connection.fetchrow(f"{SELECT_PENDING.format(service)} LIMIT 1", list(bookings)):
                return False
    return True


async def _read_state(connection: "Connection", ids: list[str]) -> DatabaseState:
    campaign = await connection.fetchrow(SELECT_CAMPAIGN)
    sent = await _fetch_from_services(connection, SELECT_SEND_ORDER, ids)
    notices: dict[str, list[str]] = {}
    for row in await connection.fetch(SELECT_NOTICES, ids):
        notices.setdefault(row["booking_id"], []).append(row["notice"])
    return DatabaseState(
        histories={row["id"]: tuple(row["states"]) for row in await connection.fetch(SELECT_HISTORY, ids)},
        discounts={row["booking_id"]: row["state"] for row in await connection.fetch(SELECT_DISCOUNTS, ids)},
        granted_count=int(campaign["granted_count"]) if campaign else 0,
        granted_rows=int(campaign["granted_rows"]) if campaign else 0,
        assigned=[_assignment(row) for row in await connection.fetch(SELECT_ASSIGNED, ids)],
        reserved=[_assignment(row) for row in await connection.fetch(SELECT_RESERVED, ids)],
        notices=notices,
        pending=[_trace(*found) for found in await _fetch_from_services(connection, SELECT_PENDING, ids)],
        abandoned=[_trace(*found) for found in await _fetch_from_services(connection, SELECT_ABANDONED, ids)],
        overtaken=[_trace(service, row) for service, row in sent if row["overtaken"]],
        ordered_messages=len(sent),
    )


async def _fetch_from_services(connection: "Connection", query: str, ids: list[str]) -> list[tuple[str, Any]]:
    """Run ``query`` on the schema of every service that takes part in flows; return pairs of service and row."""
    return [(service, row) for service in SERVICES for row in await connection.fetch(query.format(service), ids)]


def _assignment(row: Any) -> DriverAssignment:
    return DriverAssignment(row["booking_id"], row["driver"], row["slot"].isoformat())


def _trace(service: str, row: Any) -> MessageTrace:
    return MessageTrace(service, row["conversation_id"], row["message_id"], row.get("error") or "")
