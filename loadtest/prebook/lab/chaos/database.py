"""What the services' tables say when all is at rest, read over the database's wire and through no service.

A service that reports on itself would be believed; its rows are looked at instead.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from prebook.flows import SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Connection = asyncpg.Connection[asyncpg.Record]

CONNECT_WITHIN_S, ANSWER_WITHIN_S = 10.0, 60.0
HISTORY = """
    SELECT id, ARRAY(SELECT change ->> 'state' FROM jsonb_array_elements(history) WITH ORDINALITY AS h (change, n)
        ORDER BY n) AS states FROM booking.booking WHERE id = ANY($1)"""
SHARES = "SELECT booking_id, state FROM pricing.share WHERE booking_id = ANY($1)"
CAMPAIGN = """
    SELECT coalesce(sum(granted), 0) AS granted, (SELECT count(*) FROM pricing.share WHERE state = 'taken') AS taken
    FROM pricing.campaign"""
ASSIGNED = "SELECT booking_id, driver, slot FROM matching.assignment WHERE booking_id = ANY($1)"
HELD = "SELECT booking_id, driver, slot FROM fleets.hold WHERE booking_id = ANY($1) AND state = 'booked'"
TOLD = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY id"
# What waits in hand, and for what somebody still waits.
UNSENT = """
    SELECT conversation, message_id FROM {0}.outbox WHERE conversation = ANY($1) AND state = 'waiting'
    UNION ALL SELECT conversation, request_id FROM {0}.awaited WHERE conversation = ANY($1)"""
GIVEN_UP = """
    SELECT conversation, message_id, coalesce(last_error, '') AS why FROM {0}.outbox
    WHERE conversation = ANY($1) AND state NOT IN ('waiting', 'sent', 'expired')"""
# One conversation's messages on one lane leave in the order in which they were staged. Those that were staged to leave
# later (a second telling) are no part of it.
ORDER = """
    SELECT conversation, message_id, sent_at < max(sent_at) OVER (
        PARTITION BY lane, order_key ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS overtaken
    FROM {0}.outbox
    WHERE conversation = ANY($1) AND state = 'sent' AND order_key <> ''
        AND NOT (failures = 0 AND not_before > created_at + interval '0.5 s')"""


class Slot(NamedTuple):
    booking_id: str
    driver: str
    slot: str


class Trace(NamedTuple):
    """A message in a service's outbox. ``why`` is empty where nothing is to be said."""

    service: str
    booking_id: str
    message_id: str
    why: str = ""


@dataclass(frozen=True)
class Tables:
    """Of the run's bookings only, but for the two counts of the campaign."""

    histories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Booking -> the states that it took, in order."""
    shares: Mapping[str, str] = field(default_factory=dict)
    """Booking -> what became of its share of the campaign."""
    granted: int = 0
    taken: int = 0
    """Shares that pricing's counter says are out, and that its rows say are."""
    assigned: Sequence[Slot] = ()
    held: Sequence[Slot] = ()
    """Drivers' slots by matching's rows, and by the fleets'."""
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Booking -> notices in the order in which they reached the rider."""
    unsent: Sequence[Trace] = ()
    given_up: Sequence[Trace] = ()
    overtaken: Sequence[Trace] = ()
    ordered: int = 0
    """Messages of which the order of leaving was looked at."""


class TablesUnreadable(Exception):
    """The database did not tell."""


@asynccontextmanager
async def connected(database_url: str) -> "AsyncIterator[Connection]":
    """``database_url``: an administrator's. Raises TablesUnreadable."""
    plain = database_url.replace("+asyncpg", "", 1)
    try:
        connection = await asyncpg.connect(plain, timeout=CONNECT_WITHIN_S, command_timeout=ANSWER_WITHIN_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise TablesUnreadable(f"the database cannot be asked ({error}); look at its log") from error
    try:
        yield connection
    finally:
        await connection.close()


async def read(database_url: str, bookings: Collection[str]) -> Tables:
    """Raises TablesUnreadable."""
    ids = list(bookings)
    async with connected(database_url) as connection:
        try:
            return await _read(connection, ids)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise TablesUnreadable(f"the tables cannot be read ({error})") from error


async def at_rest(database_url: str, bookings: Collection[str]) -> bool:
    """Nothing of these bookings waits in any outbox, and nobody waits for an answer. Raises TablesUnreadable."""
    async with connected(database_url) as connection:
        for service in SERVICES:
            if await connection.fetchrow(f"{UNSENT.format(service)} LIMIT 1", list(bookings)):
                return False
    return True


async def _read(connection: "Connection", ids: list[str]) -> Tables:
    campaign = await connection.fetchrow(CAMPAIGN)
    order = await _everywhere(connection, ORDER, ids)
    told: dict[str, list[str]] = {}
    for row in await connection.fetch(TOLD, ids):
        told.setdefault(row["booking_id"], []).append(row["notice"])
    return Tables(
        histories={row["id"]: tuple(row["states"]) for row in await connection.fetch(HISTORY, ids)},
        shares={row["booking_id"]: row["state"] for row in await connection.fetch(SHARES, ids)},
        granted=int(campaign["granted"]) if campaign else 0,
        taken=int(campaign["taken"]) if campaign else 0,
        assigned=[_slot(row) for row in await connection.fetch(ASSIGNED, ids)],
        held=[_slot(row) for row in await connection.fetch(HELD, ids)],
        told=told,
        unsent=[_trace(*found) for found in await _everywhere(connection, UNSENT, ids)],
        given_up=[_trace(*found) for found in await _everywhere(connection, GIVEN_UP, ids)],
        overtaken=[_trace(service, row) for service, row in order if row["overtaken"]],
        ordered=len(order),
    )


async def _everywhere(connection: "Connection", query: str, ids: list[str]) -> list[tuple[str, Any]]:
    """(service, row) of every service that takes part in flows."""
    return [(service, row) for service in SERVICES for row in await connection.fetch(query.format(service), ids)]


def _slot(row: Any) -> Slot:
    return Slot(row["booking_id"], row["driver"], row["slot"].isoformat())


def _trace(service: str, row: Any) -> Trace:
    return Trace(service, row["conversation"], row["message_id"], row.get("why") or "")
