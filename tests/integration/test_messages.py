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
from tests.conditions import eventually
from tests.integration.books import Books, every
from tests.integration.broker import EVERYTHING, Broker, Heard, drained
from tests.integration.measures import counted
from tests.integration.riders import Riders, pure
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
OVER_THE_BROKER = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
SUBSCRIBERS = {addresses.event_routing_key(told.name): len(told.subscribers) for told in EVENT_TYPES}


async def test_every_message_three_times_has_one_effect(
    suite: Suite, riders: Riders, books: Books, broker: Broker
) -> None:
    tap = await broker.tap(*EVERYTHING)
    ids = await riders.several([pure(coupling) for coupling in OVER_THE_BROKER])
    assert every(await books.add_up(ids), "confirmed")
    ended = await riders.cancel(ids[0])
    assert ended.status_code == 200
    await books.add_up(ids)
    messages = await drained(tap)
    assert {m.headers["prebook-kind"] for m in messages} == {"request", "reply", "event"}
    rows, views = await books.counts(), [await riders.view(booking_id) for booking_id in ids]
    before = await _had_no_effect(suite)
    await broker.again(messages, times=2)

    async def heard_again() -> bool:
        return await _had_no_effect(suite) - before == 2 * _deliveries(messages)

    await eventually(heard_again, within_s=20)
    assert await books.counts() == rows, "no table has a row more or less"
    assert [await riders.view(booking_id) for booking_id in ids] == views


def _deliveries(messages: Sequence[Heard]) -> int:
    """How many inboxes they reach: a fact's subscribers may be several, or none of ours."""
    return sum(SUBSCRIBERS.get(message.key, 1) for message in messages)


async def _had_no_effect(suite: Suite) -> float:
    return sum([await counted(suite, name) for name in ("duplicate", "expired")])


async def test_a_further_subscriber_hears_requests_and_answers(riders: Riders, books: Books, broker: Broker) -> None:
    audit = await broker.tap((addresses.EVENTS, "request.*"), (addresses.EVENTS, "reply.*"))
    booking_id = await riders.prebook(pure(Coupling.ONE_WAY))
    assert every(await books.add_up([booking_id]), "confirmed")
    heard = {message.key for message in await drained(audit) if message.conversation == booking_id}
    assert heard == {f"{said}.{flow}" for said, flow in product(("request", "reply"), FLOWS)}


GOOD = {
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
BODY = (
    b'{"pickup":{"lat":52.5,"lon":13.4},"dropoff":{"lat":52.59,"lon":13.4},"pickup_at":"2030-01-07T12:00:00Z",'
    b'"vehicle_class":"standard","passengers":1}'
)
MALFORMED: dict[str, tuple[dict[str, str], bytes]] = {
    "bad_json": (GOOD, b'{"pickup": '),
    "wrong_schema": (GOOD, b'{"pickup": 1}'),
    "unknown_type": (GOOD | {"ce-type": "prebook.quote_fare.v9"}, b"{}"),
    "unexpected_type": (GOOD | {"prebook-flow": "notify_rider"}, BODY),
    "bad_header": (GOOD | {"prebook-plan": "quote_fare=telepathy"}, BODY),
    "missing_header": ({}, BODY),
    "too_large": (GOOD, b" " * (128 * 1024 + 1)),
}


@pytest.mark.parametrize("coupling", OVER_THE_BROKER)
async def test_malformed_messages_are_parked_with_their_cause_and_block_nobody(
    riders: Riders, books: Books, broker: Broker, coupling: Coupling
) -> None:
    exchange, key, queue = {
        Coupling.REQUEST_REPLY: (addresses.REQUESTS, "quote_fare", "pricing.requests.quote_fare"),
        Coupling.ONE_WAY: (addresses.EVENTS, "request.quote_fare", "pricing.one_way_requests.quote_fare"),
    }[coupling]
    for headers, body in MALFORMED.values():
        await broker.send(exchange, key, WireMessage(headers, body))
    ids = await riders.several([pure(coupling)] * 3)
    assert every(await books.add_up(ids), "confirmed"), "those behind them are served"
    found = await broker.parked(len(MALFORMED))
    assert {m.headers["prebook-x-cause"] for m in found} == MALFORMED.keys()
    for message in found:
        told = message.headers
        assert message.key == queue
        assert (told["prebook-x-exchange"], told["prebook-x-routing-key"]) == (exchange, key)
        sent, body = MALFORMED[told["prebook-x-cause"]]
        assert sent.items() <= told.items(), "as it came"
        assert message.body == body
        assert told["prebook-x-error"].startswith("Malformed: "), "and in words"


async def test_an_answer_about_no_booking_of_ours_is_parked(broker: Broker) -> None:
    answer = GOOD | {
        "ce-id": "made-up.quote_fare.reply",
        "prebook-kind": "reply",
        "ce-type": "prebook.unavailable.v1",
    }
    await broker.send(addresses.REPLIES, "booking", WireMessage(answer, b'{"reason":"refused"}'))
    (parked,) = await broker.parked(1)
    assert (parked.key, parked.headers["prebook-x-cause"]) == ("booking.replies", "unknown_booking")


async def test_thirty_requests_with_one_key_are_one_booking(riders: Riders, books: Books) -> None:
    key, plan = "thirty-at-once", pure(Coupling.SYNC_API)
    answers = await asyncio.gather(*(riders.post(plan, key=key) for _ in range(30)))
    assert {a.status_code for a in answers} <= {201, 202, 409}
    taken = [a for a in answers if a.is_success]
    assert taken
    assert len({a.headers["location"] for a in taken}) == 1
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 409)
    assert await books.value("SELECT count(*) FROM booking.booking WHERE key = $1", key) == 1
    booking_id = taken[0].json()["id"]
    await books.add_up([booking_id])
    assert (await riders.post(plan, key=key)).content == taken[0].content, "the stored response, byte by byte"
    other = await riders.post(plan, key=key, rider_id="other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_repeated_request_gets_the_stored_response(riders: Riders, books: Books, coupling: Coupling) -> None:
    first, second = [await riders.post(pure(coupling), key=f"again-{coupling}") for _ in range(2)]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    await books.add_up([first.json()["id"]])
