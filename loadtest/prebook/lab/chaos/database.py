"""What the services' tables say when all is at rest, read over the database's wire and through no service.

A service that reports on itself would be believed; its rows are looked at instead.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prebook.flows import SERVICES
from prebook.lab.suite_client.database import DATABASE_ERRORS, DatabaseUnreadable, connect

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
# What waits in hand, and for what somebody still waits.
SELECT_PENDING = """
    SELECT conversation_id, message_id FROM {0}.outbox WHERE conversation_id = ANY($1) AND state = 'waiting'
    UNION ALL SELECT conversation_id, request_id FROM {0}.pending_reply WHERE conversation_id = ANY($1)"""
SELECT_ABANDONED = """
    SELECT conversation_id, message_id, coalesce(last_error, '') AS error FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state NOT IN ('waiting', 'sent', 'expired')"""
# One conversation's messages on one route leave in the order in which they were staged. Those that were staged to leave
# later (a second telling) are no part of it.
SELECT_SEND_ORDER = """
    SELECT conversation_id, message_id, sent_at < max(sent_at) OVER (
        PARTITION BY route, ordering_key ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS overtaken
    FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state = 'sent' AND ordering_key <> ''
        AND NOT (failures = 0 AND not_before > created_at + interval '0.5 s')"""


class DriverAssignment(NamedTuple):
    booking_id: str
    driver: str
    slot: str


class MessageTrace(NamedTuple):
    """A message in a service's outbox. ``error`` is empty where nothing is to be said."""

    service: str
    booking_id: str
    message_id: str
    error: str = ""


@dataclass(frozen=True)
class DatabaseState:
    """Of the run's bookings only, but for the two counts of the campaign."""

    histories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Booking -> the states that it took, in order."""
    discounts: Mapping[str, str] = field(default_factory=dict)
    """Booking -> state of its discount grant."""
    granted_count: int = 0
    granted_rows: int = 0
    """Shares that pricing's counter says are out, and that its rows say are."""
    assigned: Sequence[DriverAssignment] = ()
    reserved: Sequence[DriverAssignment] = ()
    """Drivers' slots by matching's rows, and by the fleets'."""
    notices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Booking -> notices in the order in which they reached the rider."""
    pending: Sequence[MessageTrace] = ()
    abandoned: Sequence[MessageTrace] = ()
    overtaken: Sequence[MessageTrace] = ()
    ordered_messages: int = 0
    """Messages of which the order of leaving was looked at."""


async def read_state(database_url: str, bookings: Collection[str]) -> DatabaseState:
    """Raises DatabaseUnreadable."""
    ids = list(bookings)
    async with connect(database_url) as connection:
        try:
            return await _read_state(connection, ids)
        except DATABASE_ERRORS as error:
            raise DatabaseUnreadable(f"the tables cannot be read ({error})") from error


async def is_at_rest(database_url: str, bookings: Collection[str]) -> bool:
    """Nothing of these bookings waits in any outbox, and nobody waits for an answer. Raises DatabaseUnreadable."""
    async with connect(database_url) as connection:
        for service in SERVICES:
            if await connection.fetchrow(f"{SELECT_PENDING.format(service)} LIMIT 1", list(bookings)):
                return False
    return True


async def _read_state(connection: "Connection", ids: list[str]) -> DatabaseState:
    campaign = await connection.fetchrow(SELECT_CAMPAIGN)
    order = await _fetch_from_services(connection, SELECT_SEND_ORDER, ids)
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
        overtaken=[_trace(service, row) for service, row in order if row["overtaken"]],
        ordered_messages=len(order),
    )


async def _fetch_from_services(connection: "Connection", query: str, ids: list[str]) -> list[tuple[str, Any]]:
    """(service, row) of every service that takes part in flows."""
    return [(service, row) for service in SERVICES for row in await connection.fetch(query.format(service), ids)]


def _assignment(row: Any) -> DriverAssignment:
    return DriverAssignment(row["booking_id"], row["driver"], row["slot"].isoformat())


def _trace(service: str, row: Any) -> MessageTrace:
    return MessageTrace(service, row["conversation_id"], row["message_id"], row.get("error") or "")
