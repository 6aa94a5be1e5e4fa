"""Duplicate messages, malformed messages, an additional subscriber, and idempotency keys."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration.broker_probe import ALL_MESSAGES, BrokerProbe, CapturedMessage, drain
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
MESSAGING_COUPLINGS = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
SUBSCRIBER_COUNTS = {addresses.event_routing_key(each.name): len(each.subscribers) for each in EVENT_TYPES}


async def test_messages_delivered_three_times_have_one_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    tap = await broker.tap(*ALL_MESSAGES)
    ids = await rider.prebook_all([uniform_plan(coupling) for coupling in MESSAGING_COUPLINGS])
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    cancelled = await rider.cancel(ids[0])
    assert cancelled.status_code == 200
    await database.verify_bookings(ids)
    messages = await drain(tap)
    assert {m.headers["prebook-kind"] for m in messages} == {"request", "reply", "event"}
    rows = await database.count_rows()
    views = [await rider.fetch_view(booking_id) for booking_id in ids]
    ignored = await _count_ignored(suite)
    await broker.republish(messages, times=2)

    async def all_ignored() -> bool:
        return await _count_ignored(suite) - ignored == 2 * _delivery_count(messages)

    await poll_until(all_ignored, timeout_s=20)
    assert await database.count_rows() == rows, "no row is added or removed"
    assert [await rider.fetch_view(booking_id) for booking_id in ids] == views


def _delivery_count(messages: Sequence[CapturedMessage]) -> int:
    """Return the number of deliveries to services: an event has any number of subscribers, others have one receiver."""
    return sum(SUBSCRIBER_COUNTS.get(message.routing_key, 1) for message in messages)


async def _count_ignored(suite: Suite) -> float:
    """Return the number of messages that were ignored as duplicate or expired."""
    return sum([await read_message_counter(suite, name) for name in ("duplicate", "expired")])


async def test_an_additional_subscriber_receives_requests_and_replies(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    audit = await broker.tap((addresses.EVENTS, "request.*"), (addresses.EVENTS, "reply.*"))
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    received = {message.routing_key for message in await drain(audit) if message.conversation_id == booking_id}
    assert received == {f"{kind}.{flow}" for kind, flow in product(("request", "reply"), FLOWS)}


VALID_HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "made-up.quote_fare",
    "ce-type": "prebook.quote_fare.v1",
    "ce-source": "/prebook/booking",
    "ce-subject": "made-up",
    "ce-time": datetime.now(UTC).isoformat(),
    "prebook-kind": "request",
    "prebook-flow": "quote_fare",
    "prebook-plan": ",".join(f"{flow}=request_reply" for flow in FLOWS),
    "prebook-reply-to": "booking",
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
}
VALID_BODY = (
    b'{"pickup":{"lat":52.5,"lon":13.4},"dropoff":{"lat":52.59,"lon":13.4},"pickup_at":"2030-01-07T12:00:00Z",'
    b'"vehicle_class":"standard","passengers":1}'
)
MALFORMED: dict[str, tuple[dict[str, str], bytes]] = {
    "bad_json": (VALID_HEADERS, b'{"pickup": '),
    "wrong_schema": (VALID_HEADERS, b'{"pickup": 1}'),
    "unknown_type": (VALID_HEADERS | {"ce-type": "prebook.quote_fare.v9"}, b"{}"),
    "unexpected_type": (VALID_HEADERS | {"prebook-flow": "nonsense"}, VALID_BODY),
    "forbidden_sender": (VALID_HEADERS | {"prebook-flow": "notify_rider"}, VALID_BODY),
    "foreign_id": (VALID_HEADERS | {"ce-id": "another.quote_fare"}, VALID_BODY),
    "bad_header": (VALID_HEADERS | {"prebook-plan": "quote_fare=telepathy"}, VALID_BODY),
    "missing_header": ({}, VALID_BODY),
    "too_large": (VALID_HEADERS, b" " * (128 * 1024 + 1)),
}


@pytest.mark.parametrize("coupling", MESSAGING_COUPLINGS)
async def test_malformed_messages_are_parked_with_their_cause_and_block_no_other(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, coupling: Coupling
) -> None:
    exchange, routing_key, queue = {
        Coupling.REQUEST_REPLY: (addresses.REQUESTS, "quote_fare", "pricing.requests.quote_fare"),
        Coupling.ONE_WAY: (addresses.EVENTS, "request.quote_fare", "pricing.one_way_requests.quote_fare"),
    }[coupling]
    for headers, body in MALFORMED.values():
        await broker.send(exchange, routing_key, WireMessage(headers, body))
    ids = await rider.prebook_all([uniform_plan(coupling)] * 3)
    assert all_in_state(await database.verify_bookings(ids), "confirmed"), (
        "requests behind the malformed ones are handled"
    )
    parked = await broker.collect_parked(len(MALFORMED))
    assert {m.headers["prebook-x-cause"] for m in parked} == MALFORMED.keys()
    for message in parked:
        stored = message.headers
        assert message.routing_key == queue
        assert (stored["prebook-x-exchange"], stored["prebook-x-routing-key"]) == (exchange, routing_key)
        sent, body = MALFORMED[stored["prebook-x-cause"]]
        assert sent.items() <= stored.items(), "all headers are kept"
        assert message.body == body
        error_type, _, described = stored["prebook-x-error"].partition(": ")
        assert (error_type in {"Malformed", "ForbiddenSender"}, bool(described)) == (True, True)


async def test_a_reply_for_an_unknown_booking_is_parked(broker: BrokerProbe) -> None:
    reply = VALID_HEADERS | {
        "ce-id": "made-up.quote_fare.reply",
        "prebook-kind": "reply",
        "ce-type": "prebook.unavailable.v1",
    }
    await broker.send(addresses.REPLIES, "booking.quote_fare", WireMessage(reply, b'{"reason":"refused"}'))
    (parked,) = await broker.collect_parked(1)
    assert (parked.routing_key, parked.headers["prebook-x-cause"]) == ("booking.replies", "unknown_booking")


async def test_thirty_concurrent_requests_with_one_key_make_one_booking(
    rider: RiderClient, database: DatabaseProbe
) -> None:
    key = "thirty-at-once"
    plan = uniform_plan(Coupling.SYNC_API)
    responses = await asyncio.gather(*(rider.post_booking(plan, key=key) for _ in range(30)))
    assert {each.status_code for each in responses} <= {201, 202, 409}
    accepted = [each for each in responses if each.is_success]
    assert accepted
    assert len({each.headers["location"] for each in accepted}) == 1
    assert all(each.headers["retry-after"] for each in responses if each.status_code == 409)
    assert await database.fetch_value("SELECT count(*) FROM booking.booking WHERE key = $1", key) == 1
    booking_id = accepted[0].json()["id"]
    await database.verify_bookings([booking_id])
    assert (await rider.post_booking(plan, key=key)).content == accepted[0].content, (
        "a repetition gets the stored response, byte by byte"
    )
    changed = await rider.post_booking(plan, key=key, passengers=4)
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_key_reused")
    other = await rider.post_booking(plan, key=key, rider_id="other")
    assert other.json()["id"] != booking_id, "a key belongs to its rider"
    await database.verify_bookings([other.json()["id"]])


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_repeated_request_gets_the_stored_response(
    rider: RiderClient, database: DatabaseProbe, coupling: Coupling
) -> None:
    first, second = [await rider.post_booking(uniform_plan(coupling), key=f"again-{coupling}") for _ in range(2)]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    await database.verify_bookings([first.json()["id"]])
