"""The database judge's queries on real tables: order of sending, messages that nobody received, phantom effects."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from prebook.flows import SERVICES
from prebook.lab.chaos.database import EFFECT_TABLES, DatabaseState, OpenOffer, read_state
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from tests.databases import Databases, dispose_engine, role_url

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

BOOKING = "bk_1"
OWNER = "booking relay"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
INSERT_MESSAGE = """
    INSERT INTO {}.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key,
        claimed_by)
    VALUES ($1, $2, $3, $4, 'broker', '', now(), $4, $5) RETURNING seq"""
INSERT_RECORD = """
    INSERT INTO booking.idempotency_record (key, rider_id, booking_id, fingerprint, created_at)
    VALUES ('k', 'r', 'bk_1', '', now())"""
INSERT_RECEIVED = "INSERT INTO {}.inbox (message_id, flow, conversation_id, reply) VALUES ($1, $2, $3, $4)"
INSERT_PENDING_REPLY = """
    INSERT INTO {}.pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ('r', 'quote_fare', 'bk_1', '', now())"""
INSERT_RESERVATION = """
    INSERT INTO fleets.reservation (fleet, driver, slot, booking_id, expires_at)
    VALUES ('ada', 'd', now(), 'bk_1', now()) RETURNING reserved_at"""


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated(*SERVICES)


@pytest.fixture
async def connection(url: str) -> AsyncIterator["Connection"]:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    yield connection
    tables = {table for table, _, _ in EFFECT_TABLES} | {"booking.booking", "booking.trip"}
    await connection.execute(f"TRUNCATE {', '.join(sorted(tables))}")
    await connection.close()


async def read(url: str, since: datetime = LONG_AGO) -> DatabaseState:
    return await read_state(url, [BOOKING], since)


async def add_booking(connection: "Connection", booking_id: str = BOOKING) -> None:
    await connection.execute(
        """
        INSERT INTO booking.booking (id, key, rider_id, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon, pickup_at,
            vehicle_class, passengers, plan, state, history)
        VALUES ($1, $1, 'rider', 52, 13, 52.1, 13, now(), 'standard', 1, '{}', 'requested',
            '[{"state": "requested", "at": "2026-11-30T12:00:00Z"}]')""",
        booking_id,
    )


async def add_trip(connection: "Connection") -> None:
    await connection.execute(
        """
        INSERT INTO booking.trip (id, key, rider_id, plan, policy, deadline_s, legs, fingerprint, response, results,
            state, history, due_at)
        VALUES ($1, 'key', 'rider', '{}', 'all', 60, 2, '', '', '{}', 'requested', '[]', now())""",
        BOOKING,
    )


async def add_messages(
    connection: "Connection", *ids: str, sender: str = "booking", kind: str = "request", flow: str = "quote_fare"
) -> Sequence[int]:
    """Insert outbox rows of one ordering key, claimed by OWNER; return their sequence numbers."""
    query = INSERT_MESSAGE.format(sender)
    return [await connection.fetchval(query, message_id, kind, flow, BOOKING, OWNER) for message_id in ids]


async def mark_sent(url: str, seqs: Sequence[int]) -> None:
    """Mark rows with one statement, as a relay does that got their confirms in this order."""
    engine = create_engine("booking", role_url(url, "booking"))
    await SqlOutbox(engine, OWNER).mark_sent(seqs)
    await dispose_engine(engine)


async def receive(
    connection: "Connection", receiver: str, message_id: str, flow: str, reply: str | None = None
) -> None:
    await connection.execute(INSERT_RECEIVED.format(receiver), message_id, flow, BOOKING, reply)


async def test_messages_that_one_statement_marked_are_compared_by_the_order_of_their_confirms(
    url: str, connection: "Connection"
) -> None:
    first, second, third = await add_messages(connection, "first", "second", "third")
    await mark_sent(url, [first, third, second])
    state = await read(url)
    assert [trace.message_id for trace in state.overtaken] == ["third"]
    assert state.ordered_messages == 2


async def test_messages_in_order_overtake_nothing(url: str, connection: "Connection") -> None:
    first, second, third = await add_messages(connection, "first", "second", "third")
    await mark_sent(url, [first, second])
    await mark_sent(url, [third])
    state = await read(url)
    assert (list(state.overtaken), state.ordered_messages) == ([], 2)


async def test_a_message_that_was_marked_after_a_later_one_was_overtaken(url: str, connection: "Connection") -> None:
    first, second = await add_messages(connection, "first", "second")
    await mark_sent(url, [second])
    await mark_sent(url, [first])
    assert [trace.message_id for trace in (await read(url)).overtaken] == ["second"]


async def test_a_message_that_was_sent_again_is_told_from_one_that_was_sent_late(
    url: str, connection: "Connection"
) -> None:
    first, second, third = await add_messages(connection, "first", "second", "third")
    await mark_sent(url, [second, third])
    lost = "its lease ended without an outcome, so that it may have been sent"
    await connection.execute("UPDATE booking.outbox SET last_error = $1 WHERE seq = $2", lost, first)
    await mark_sent(url, [first])
    found = {message.message_id: message for message in (await read(url)).overtaken}
    resent_at = await connection.fetchval("SELECT sent_at FROM booking.outbox WHERE seq = $1", first)
    assert {message.resent_at for message in found.values()} == {resent_at}
    assert set(found) == {"second", "third"}
    await connection.execute("UPDATE booking.outbox SET last_error = 'no confirm' WHERE seq = $1", first)
    assert {message.resent_at for message in (await read(url)).overtaken} == {None}


async def test_a_message_that_expired_unsent_is_found(url: str, connection: "Connection") -> None:
    (seq,) = await add_messages(connection, "late")
    await connection.execute(
        "UPDATE booking.outbox SET state = 'expired', cause = 'expired', abandoned_at = now() WHERE seq = $1", seq
    )
    (found,) = (await read(url)).expired
    assert (found.sender, found.booking_id, found.message_id, found.flow) == ("booking", BOOKING, "late", "quote_fare")


async def test_a_message_alone_in_its_key_shows_nothing_about_order(url: str, connection: "Connection") -> None:
    (only,) = await add_messages(connection, "only")
    await mark_sent(url, [only])
    assert (await read(url)).ordered_messages == 0


async def test_a_sent_message_that_its_receiver_does_not_know_is_found(url: str, connection: "Connection") -> None:
    fare = await add_messages(connection, "fare", "fare too")
    event = await add_messages(connection, "ended", kind="event", flow="booking_ended")
    await add_messages(connection, "unsent")
    await mark_sent(url, [*fare, *event])
    await receive(connection, "pricing", "fare", "quote_fare")
    await receive(connection, "pricing", "ended", "booking_ended")
    unreceived = {(message.message_id, message.receiver) for message in (await read(url)).unreceived}
    assert unreceived == {("fare too", "pricing"), ("ended", "matching")}


async def test_every_table_that_refers_to_a_booking_is_looked_at(connection: "Connection") -> None:
    """A table that a migration adds must be in EFFECT_TABLES, or the judge does not see what is in it."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT table_schema || '.' || table_name AS name FROM information_schema.columns
        WHERE table_schema = ANY($1) AND column_name IN ('booking_id', 'conversation_id', 'trip_id')""",
        list(SERVICES),
    )
    assert {row["name"] for row in rows} == {table for table, _, _ in EFFECT_TABLES}


async def test_every_effect_without_a_booking_is_found(url: str, connection: "Connection") -> None:
    slot = datetime(2031, 1, 1, tzinfo=UTC)
    await connection.execute("INSERT INTO pricing.discount_grant (booking_id, state) VALUES ('bk_1', 'granted')")
    await connection.execute("INSERT INTO matching.assignment VALUES ('bk_1', 'ada', 'ada-1', $1)", slot)
    await connection.execute("INSERT INTO matching.auction VALUES ('bk_1', true, 0, '{}')")
    await connection.execute(INSERT_RESERVATION)
    await connection.execute("INSERT INTO fleets.unreadable_reply VALUES ('bk_1', 'ada', now(), '', 'garbled', '', '')")
    await connection.execute("INSERT INTO booking.route VALUES ('bk_1', 1, '')")
    await connection.execute("INSERT INTO fleets.route VALUES ('bk_1', 1, '')")
    await connection.execute(
        "INSERT INTO notification.delivery (booking_id, notice, rider_id, text) VALUES ('bk_1', 'confirmed', 'r', '')"
    )
    await connection.execute("INSERT INTO notification.notified VALUES ('bk_1', 'confirmed')")
    await connection.execute(INSERT_RECORD)
    await add_booking(connection, "bk_2")
    await connection.execute("UPDATE booking.booking SET trip_id = 'bk_1', leg = 1")
    for service in SERVICES:
        await add_messages(connection, f"of {service}", sender=service)
        await receive(connection, service, f"for {service}", "quote_fare")
        await connection.execute(INSERT_PENDING_REPLY.format(service))
    phantoms = (await read(url)).phantoms
    assert {phantom.table for phantom in phantoms} == {table for table, _, _ in EFFECT_TABLES}
    assert {phantom.booking_id for phantom in phantoms} == {BOOKING}
    assert not (await read(url, since=datetime.now(UTC) + timedelta(hours=1))).phantoms
    await add_booking(connection)
    assert not (await read(url)).phantoms


async def test_effects_of_a_trip_and_its_legs_are_no_phantoms(url: str, connection: "Connection") -> None:
    await connection.execute("INSERT INTO notification.notified VALUES ('bk_1', 'confirmed')")
    await add_booking(connection, "bk_2")
    await connection.execute("UPDATE booking.booking SET trip_id = 'bk_1', leg = 1")
    assert {phantom.table for phantom in (await read(url)).phantoms} == {"booking.booking", "notification.notified"}
    await add_trip(connection)
    assert not (await read(url)).phantoms


async def test_fleets_declined_only_if_each_of_them_did(url: str, connection: "Connection") -> None:
    await connection.execute("INSERT INTO matching.auction VALUES ('bk_1', true, 0, '{\"fleets_asked\": 2}')")
    declined = '{"headers": {"ce-type": "prebook.fleet_declined.v1"}, "body": ""}'
    offered = '{"headers": {"ce-type": "prebook.fleet_offered.v1"}, "body": ""}'
    await receive(connection, "fleets", "ask ada", "ask_fleet", declined)
    await receive(connection, "fleets", "ask borealis", "ask_fleet", offered)
    assert not (await read(url)).declined_by_all
    await connection.execute("UPDATE fleets.inbox SET reply = $1", declined)
    assert (await read(url)).declined_by_all == {BOOKING}


async def test_an_offer_is_open_until_its_verdict(url: str, connection: "Connection") -> None:
    reserved_at = await connection.fetchval(INSERT_RESERVATION)
    assert list((await read(url)).open_offers) == [OpenOffer(BOOKING, "d", reserved_at)]
    await connection.execute("UPDATE fleets.reservation SET state = 'booked'")
    assert not (await read(url)).open_offers
