"""State of the run's bookings in the services' private tables, for the judge of a chaos run.

Database judge: this module holds SQL on private tables of every service, so a migration may break it. The lab reads all
else over the wire. The exception exists because a service that miscounts would also misreport: the judge compares what
services report with the rows that they wrote. tests/architecture lists the modules that may do so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prebook.flows import ALL_FLOWS, EVENT_TYPES, SERVICES
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
SELECT_OPEN_OFFERS = """
    SELECT booking_id, driver, min(reserved_at) AS reserved_at FROM fleets.reservation
    WHERE booking_id = ANY($1) AND state = 'reserved' GROUP BY booking_id, fleet, driver"""
# Bookings for which every fleet that matching asked has declined, by the replies that fleets stored. The inbox has no
# index by booking, so it is read once and not once for each auction.
SELECT_DECLINED_BY_ALL = """
    WITH declined AS MATERIALIZED (
        SELECT conversation_id AS booking_id, count(*) AS fleets FROM fleets.inbox
        WHERE conversation_id = ANY($1) AND flow = 'ask_fleet'
            AND (reply::jsonb -> 'headers' ->> 'ce-type') LIKE 'prebook.fleet_declined.%'
        GROUP BY conversation_id)
    SELECT booking_id FROM matching.auction LEFT JOIN declined USING (booking_id)
    WHERE booking_id = ANY($1) AND (document ->> 'fleets_asked')::integer <= coalesce(declined.fleets, 0)"""
SELECT_NOTICES = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY id"
# Messages still to be sent, and requests whose reply is still awaited.
SELECT_PENDING = """
    SELECT conversation_id, message_id FROM {0}.outbox WHERE conversation_id = ANY($1) AND state = 'waiting'
    UNION ALL SELECT conversation_id, request_id FROM {0}.pending_reply WHERE conversation_id = ANY($1)"""
SELECT_ABANDONED = """
    SELECT conversation_id, message_id, coalesce(last_error, '') AS error FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state NOT IN ('waiting', 'sent', 'expired')"""
# Messages that expired before they were sent.
SELECT_EXPIRED = """
    SELECT conversation_id, message_id, flow, created_at FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state = 'expired'"""
# Sent messages that are missing in the inbox of their receiver.
SELECT_UNRECEIVED = """
    SELECT conversation_id, message_id, flow, sent_at FROM {sender}.outbox AS sent
    WHERE conversation_id = ANY($1) AND state = 'sent' AND kind = $2 AND flow = $3
        AND NOT EXISTS (SELECT FROM {receiver}.inbox AS received WHERE received.message_id = sent.message_id)"""
# Messages of one ordering key on one route are sent in the order of their insertion (seq). A relay marks many rows with
# one sent_at, so sent_position tells the order of their confirms. Rows that were inserted with a later not_before are
# excluded: rows inserted after them may be due earlier. A row that its relay lost track of may have been sent twice,
# and has the time of the second: resent_at is that of the last such row, if no other one was overtaken.
SELECT_SEND_ORDER = """
    SELECT conversation_id, message_id, created_at, place < max(place) OVER predecessors AS overtaken,
        CASE WHEN place >= coalesce(max(place) FILTER (WHERE NOT is_resent) OVER predecessors, 0)
            THEN max(sent_at) FILTER (WHERE is_resent) OVER predecessors END AS resent_at,
        count(*) OVER predecessors > 0 AS has_predecessor
    FROM (
        SELECT conversation_id, message_id, route, ordering_key, seq, created_at, sent_at,
            dense_rank() OVER (ORDER BY sent_at, sent_position) AS place,
            coalesce(last_error LIKE 'its lease ended without an outcome%', false) AS is_resent
        FROM {0}.outbox
        WHERE conversation_id = ANY($1) AND state = 'sent' AND ordering_key <> ''
            AND NOT (failures = 0 AND not_before > created_at + interval '0.5 s')) AS sent
    WINDOW predecessors AS (
        PARTITION BY route, ordering_key ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"""
# Rows that were written since $1 for a booking, or a trip, that does not exist.
SELECT_PHANTOMS = """
    SELECT DISTINCT {booking_id} AS booking_id FROM {table}
    WHERE {written_at} >= $1 AND {booking_id} IS NOT NULL
        AND NOT EXISTS (SELECT FROM booking.booking AS known WHERE known.id = {table}.{booking_id})
        AND NOT EXISTS (SELECT FROM booking.trip AS known WHERE known.id = {table}.{booking_id})"""
EFFECT_TABLES: Sequence[tuple[str, str, str]] = (
    ("booking.booking", "trip_id", "created_at"),
    ("booking.idempotency_record", "booking_id", "created_at"),
    ("booking.route", "booking_id", "planned_at"),
    ("pricing.discount_grant", "booking_id", "updated_at"),
    ("matching.assignment", "booking_id", "assigned_at"),
    ("matching.auction", "booking_id", "opened_at"),
    ("fleets.reservation", "booking_id", "reserved_at"),
    ("fleets.unreadable_reply", "booking_id", "received_at"),
    ("fleets.route", "booking_id", "received_at"),
    ("notification.delivery", "booking_id", "delivered_at"),
    ("notification.notified", "booking_id", "notified_at"),
    *((f"{service}.inbox", "conversation_id", "received_at") for service in SERVICES),
    *((f"{service}.outbox", "conversation_id", "created_at") for service in SERVICES),
    *((f"{service}.pending_reply", "conversation_id", "due_at") for service in SERVICES),
)
"""Table, column of the booking or trip id, and column of the time of writing, of every effect that one can have. A leg
is an effect of its trip."""


class Path(NamedTuple):
    """Way of a kind of message: ``kind`` and ``flow`` (or type of event) that ``sender`` sends to ``receiver``."""

    sender: str
    receiver: str
    kind: str
    flow: str


PATHS: Sequence[Path] = (
    *(Path(flow.caller, flow.provider, "request", flow.name) for flow in ALL_FLOWS),
    *(Path(flow.provider, flow.provider, "request", flow.name) for flow in ALL_FLOWS),  # accepted, handled by itself
    *(Path(flow.provider, flow.caller, "reply", flow.name) for flow in ALL_FLOWS),
    *(
        Path(event.publisher, subscriber, "event", event.name)
        for event in EVENT_TYPES
        for subscriber in sorted(event.subscribers)
    ),
)
"""Ways of all messages that leave through an outbox."""


class DriverAssignment(NamedTuple):
    """A driver's slot that a service's rows give to a booking. ``slot``: ISO 8601 start of the slot."""

    booking_id: str
    driver: str
    slot: str


class OpenOffer(NamedTuple):
    """A fleet's offer of a driver that has got no verdict."""

    booking_id: str
    driver: str
    reserved_at: datetime


class UnreceivedMessage(NamedTuple):
    """A sent message that is missing in the inbox of ``receiver``. ``flow``: flow, or type of an event."""

    sender: str
    receiver: str
    booking_id: str
    message_id: str
    flow: str
    sent_at: datetime


class ExpiredMessage(NamedTuple):
    """A message that expired in the outbox of ``sender`` before it was sent."""

    sender: str
    booking_id: str
    message_id: str
    flow: str
    created_at: datetime


class OvertakenMessage(NamedTuple):
    """A message that ``sender`` sent before an earlier one of its ordering key and route.

    ``resent_at``: when the earlier one was sent for the last time, if it may have been sent before; None if not.
    """

    sender: str
    booking_id: str
    message_id: str
    created_at: datetime
    resent_at: datetime | None


class PhantomEffect(NamedTuple):
    """A row of ``table`` for a booking or trip that does not exist."""

    table: str
    booking_id: str


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
    open_offers: Sequence[OpenOffer] = ()
    """Offers for which fleets still keep a driver."""
    declined_by_all: Collection[str] = frozenset()
    """Ids of bookings for which every fleet has declined."""
    notices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Notices of each booking id in the order of their delivery to the rider."""
    pending: Sequence[MessageTrace] = ()
    """Messages still to be sent, and requests whose reply is still awaited."""
    abandoned: Sequence[MessageTrace] = ()
    """Messages that the relay will never send."""
    expired: Sequence[ExpiredMessage] = ()
    """Messages that expired before they were sent."""
    overtaken: Sequence[OvertakenMessage] = ()
    """Messages sent before an earlier message of the same ordering key and route."""
    ordered_messages: int = 0
    """Number of sent messages that followed another one of their ordering key and route, so that order can be seen."""
    unreceived: Sequence[UnreceivedMessage] = ()
    """Sent messages that are missing in the inbox of their receiver."""
    phantoms: Sequence[PhantomEffect] = ()
    """Effects of bookings that do not exist, written during the run."""


async def read_state(database_url: str, bookings: Collection[str], since: datetime) -> DatabaseState:
    """Return the state of ``bookings`` (ids), and the phantom effects written from ``since`` on.

    ``database_url`` is an administrator's.

    Raises:
        DatabaseUnreadable: The database cannot be reached, or a query failed.
    """
    async with connect(database_url) as connection:
        try:
            return await _read_state(connection, list(bookings), since)
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


async def _read_state(connection: "Connection", ids: list[str], since: datetime) -> DatabaseState:
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
        open_offers=[OpenOffer(*row) for row in await connection.fetch(SELECT_OPEN_OFFERS, ids)],
        declined_by_all=frozenset(row["booking_id"] for row in await connection.fetch(SELECT_DECLINED_BY_ALL, ids)),
        notices=notices,
        pending=[_trace(*found) for found in await _fetch_from_services(connection, SELECT_PENDING, ids)],
        abandoned=[_trace(*found) for found in await _fetch_from_services(connection, SELECT_ABANDONED, ids)],
        expired=[
            ExpiredMessage(service, *row)
            for service, row in await _fetch_from_services(connection, SELECT_EXPIRED, ids)
        ],
        overtaken=[
            OvertakenMessage(service, row["conversation_id"], row["message_id"], row["created_at"], row["resent_at"])
            for service, row in sent
            if row["overtaken"]
        ],
        ordered_messages=sum(row["has_predecessor"] for _, row in sent),
        unreceived=[message for path in PATHS for message in await _fetch_unreceived(connection, path, ids)],
        phantoms=[phantom for table in EFFECT_TABLES for phantom in await _fetch_phantoms(connection, table, since)],
    )


async def _fetch_unreceived(connection: "Connection", path: Path, ids: list[str]) -> list[UnreceivedMessage]:
    query = SELECT_UNRECEIVED.format(sender=path.sender, receiver=path.receiver)
    return [
        UnreceivedMessage(
            path.sender, path.receiver, row["conversation_id"], row["message_id"], row["flow"], row["sent_at"]
        )
        for row in await connection.fetch(query, ids, path.kind, path.flow)
    ]


async def _fetch_phantoms(
    connection: "Connection", effect_table: tuple[str, str, str], since: datetime
) -> list[PhantomEffect]:
    table, booking_id, written_at = effect_table
    query = SELECT_PHANTOMS.format(table=table, booking_id=booking_id, written_at=written_at)
    return [PhantomEffect(table, row["booking_id"]) for row in await connection.fetch(query, since)]


async def _fetch_from_services(connection: "Connection", query: str, ids: list[str]) -> list[tuple[str, Any]]:
    """Run ``query`` on the schema of every service that takes part in flows; return pairs of service and row."""
    return [(service, row) for service in SERVICES for row in await connection.fetch(query.format(service), ids)]


def _assignment(row: Any) -> DriverAssignment:
    return DriverAssignment(row["booking_id"], row["driver"], row["slot"].isoformat())


def _trace(service: str, row: Any) -> MessageTrace:
    return MessageTrace(service, row["conversation_id"], row["message_id"], row.get("error") or "")
