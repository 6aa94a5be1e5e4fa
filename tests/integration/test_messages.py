"""What is said more than once, or makes no sense, or is heard by somebody new."""

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
OVER_THE_BROKER = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
SUBSCRIBERS = {addresses.event_routing_key(told.name): len(told.subscribers) for told in EVENT_TYPES}


async def test_every_message_three_times_has_one_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    tap = await broker.tap(*ALL_MESSAGES)
    ids = await rider.prebook_all([uniform_plan(coupling) for coupling in OVER_THE_BROKER])
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    ended = await rider.cancel(ids[0])
    assert ended.status_code == 200
    await database.verify_bookings(ids)
    messages = await drain(tap)
    assert {m.headers["prebook-kind"] for m in messages} == {"request", "reply", "event"}
    rows, views = await database.count_rows(), [await rider.fetch_view(booking_id) for booking_id in ids]
    before = await _had_no_effect(suite)
    await broker.republish(messages, times=2)

    async def heard_again() -> bool:
        return await _had_no_effect(suite) - before == 2 * _deliveries(messages)

    await poll_until(heard_again, timeout_s=20)
    assert await database.count_rows() == rows, "no table has a row more or less"
    assert [await rider.fetch_view(booking_id) for booking_id in ids] == views


def _deliveries(messages: Sequence[CapturedMessage]) -> int:
    """How many inboxes they reach: a fact's subscribers may be several, or none of ours."""
    return sum(SUBSCRIBERS.get(message.routing_key, 1) for message in messages)


async def _had_no_effect(suite: Suite) -> float:
    return sum([await read_message_counter(suite, name) for name in ("duplicate", "expired")])


async def test_a_further_subscriber_hears_requests_and_answers(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    audit = await broker.tap((addresses.EVENTS, "request.*"), (addresses.EVENTS, "reply.*"))
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    heard = {message.routing_key for message in await drain(audit) if message.conversation_id == booking_id}
    assert heard == {f"{said}.{flow}" for said, flow in product(("request", "reply"), FLOWS)}


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
    "unexpected_type": (VALID_HEADERS | {"prebook-flow": "notify_rider"}, VALID_BODY),
    "bad_header": (VALID_HEADERS | {"prebook-plan": "quote_fare=telepathy"}, VALID_BODY),
    "missing_header": ({}, VALID_BODY),
    "too_large": (VALID_HEADERS, b" " * (128 * 1024 + 1)),
}


@pytest.mark.parametrize("coupling", OVER_THE_BROKER)
async def test_malformed_messages_are_parked_with_their_cause_and_block_nobody(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, coupling: Coupling
) -> None:
    exchange, key, queue = {
        Coupling.REQUEST_REPLY: (addresses.REQUESTS, "quote_fare", "pricing.requests.quote_fare"),
        Coupling.ONE_WAY: (addresses.EVENTS, "request.quote_fare", "pricing.one_way_requests.quote_fare"),
    }[coupling]
    for headers, body in MALFORMED.values():
        await broker.send(exchange, key, WireMessage(headers, body))
    ids = await rider.prebook_all([uniform_plan(coupling)] * 3)
    assert all_in_state(await database.verify_bookings(ids), "confirmed"), "those behind them are served"
    found = await broker.collect_parked(len(MALFORMED))
    assert {m.headers["prebook-x-cause"] for m in found} == MALFORMED.keys()
    for message in found:
        told = message.headers
        assert message.routing_key == queue
        assert (told["prebook-x-exchange"], told["prebook-x-routing-key"]) == (exchange, key)
        sent, body = MALFORMED[told["prebook-x-cause"]]
        assert sent.items() <= told.items(), "as it came"
        assert message.body == body
        assert told["prebook-x-error"].startswith("Malformed: "), "and in words"


async def test_an_answer_about_no_booking_of_ours_is_parked(broker: BrokerProbe) -> None:
    answer = VALID_HEADERS | {
        "ce-id": "made-up.quote_fare.reply",
        "prebook-kind": "reply",
        "ce-type": "prebook.unavailable.v1",
    }
    await broker.send(addresses.REPLIES, "booking", WireMessage(answer, b'{"reason":"refused"}'))
    (parked,) = await broker.collect_parked(1)
    assert (parked.routing_key, parked.headers["prebook-x-cause"]) == ("booking.replies", "unknown_booking")


async def test_thirty_requests_with_one_key_are_one_booking(rider: RiderClient, database: DatabaseProbe) -> None:
    key, plan = "thirty-at-once", uniform_plan(Coupling.SYNC_API)
    answers = await asyncio.gather(*(rider.post_booking(plan, key=key) for _ in range(30)))
    assert {a.status_code for a in answers} <= {201, 202, 409}
    taken = [a for a in answers if a.is_success]
    assert taken
    assert len({a.headers["location"] for a in taken}) == 1
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 409)
    assert await database.fetch_value("SELECT count(*) FROM booking.booking WHERE key = $1", key) == 1
    booking_id = taken[0].json()["id"]
    await database.verify_bookings([booking_id])
    assert (await rider.post_booking(plan, key=key)).content == taken[0].content, "the stored response, byte by byte"
    other = await rider.post_booking(plan, key=key, rider_id="other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_repeated_request_gets_the_stored_response(
    rider: RiderClient, database: DatabaseProbe, coupling: Coupling
) -> None:
    first, second = [await rider.post_booking(uniform_plan(coupling), key=f"again-{coupling}") for _ in range(2)]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    await database.verify_bookings([first.json()["id"]])
