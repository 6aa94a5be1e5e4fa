"""Messages of newer senders, with fields that their receivers do not know, in every coupling."""

from collections.abc import Callable
from typing import Any

import pytest

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.messaging import codec
from prebook.messaging.addresses import PARKING_QUEUE
from prebook.messaging.body_codec import encode_body
from prebook.messaging.envelope import EncodedBody, Envelope
from tests.conditions import wait_until
from tests.coupling.test_poison import MAX_ATTEMPTS, POLICY, Defect, raises, replay_parked, wait_until_parked
from tests.messaging.additional_fields import ADDITIONAL_FIELD, additionally_encoding
from tests.world import SuiteWorld

every_coupling = pytest.mark.parametrize("coupling", Coupling)


@pytest.fixture(autouse=True)
def newer_senders(monkeypatch: pytest.MonkeyPatch) -> list[EncodedBody]:
    """Let every service write an additional field, a number, into each object of a body; return the encoded bodies."""
    encoded_bodies: list[EncodedBody] = []
    encode_newer = additionally_encoding(encode_body, lambda: str(len(encoded_bodies)))

    def encode(body: Message) -> EncodedBody:
        encoded_bodies.append(encode_newer(body))
        return encoded_bodies[-1]

    monkeypatch.setattr(codec, "encode_body", encode)
    return encoded_bodies


@every_coupling
async def test_rides_are_confirmed_and_nothing_is_parked(coupling: Coupling, newer_senders: list[EncodedBody]) -> None:
    async with SuiteWorld() as world:
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)
        await world.http.client("booking").delete(f"/v1/bookings/{booking}")
        matching = world.databases["matching"]
        await wait_until(lambda: f"{booking}.booking_ended" in matching.tables.inbox)
        received = [each for database in world.databases.values() for each in database.tables.inbox.values()]

    assert ride.state is BookingState.CONFIRMED
    assert not world.broker.queues[PARKING_QUEUE]
    assert {each.kind for each in received} == {"request", "reply", "event"}
    assert len(newer_senders) >= len(received) > len(FLOWS)
    assert all(has_additional_field(each) for each in received)


def has_additional_field(envelope: Envelope) -> bool:
    return envelope.encoded_body is None or ADDITIONAL_FIELD.encode() in envelope.encoded_body.data


@every_coupling
@pytest.mark.parametrize(
    ("service", "store_method", "suffix"),
    [("pricing", "grant_discount", ""), ("booking", "lock", ".reply")],
    ids=["request", "reply"],
)
async def test_a_message_that_fails_is_tried_again_parked_and_replayed_with_the_bytes_that_were_sent(
    coupling: Coupling, service: str, store_method: str, suffix: str, newer_senders: list[EncodedBody]
) -> None:
    async with SuiteWorld(policy=POLICY) as world:
        setattr(world.databases[service].tables.state, store_method, raises(Defect("no fare")))
        response = await world.post_booking(dict.fromkeys(FLOWS, coupling))
        parked = (await wait_until_parked(world, 1))[0]
        delattr(world.databases[service].tables.state, store_method)
        await replay_parked(world)
        message_id = f"{response.json()['id']}.quote_fare{suffix}"
        await wait_until(lambda: message_id in world.databases[service].tables.inbox)
        replayed = world.databases[service].tables.inbox[message_id]

    type_ = parked.headers["ce-type"]
    assert (parked.headers["ce-id"], parked.headers["prebook-attempt"]) == (message_id, str(MAX_ATTEMPTS))
    assert parked.body == next(each.data for each in newer_senders if each.type == type_), "nobody encodes it again"
    assert replayed.encoded_body == EncodedBody(type_, parked.body)


@every_coupling
async def test_a_stored_reply_is_repeated_with_its_bytes(coupling: Coupling) -> None:
    """Every message comes twice, so that a provider repeats the replies that it has stored."""
    async with SuiteWorld(copies=2) as world:
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)

    assert world.observer.duplicates > 0
    assert ride.state is BookingState.CONFIRMED


EDGE: dict[str, Callable[[dict[str, Any]], None]] = {
    "/surge": lambda body: body.update(surge=True),
    "/pickup/label": lambda body: body["pickup"].update(label="gate 4"),
}


@pytest.mark.parametrize("pointer", EDGE)
async def test_the_api_of_riders_refuses_an_unknown_field_by_its_name(pointer: str) -> None:
    async with SuiteWorld() as world:
        changed: dict[str, Any] = {"pickup": {"lat": 52.5, "lon": 13.4}}
        EDGE[pointer](changed)
        response = await world.post_booking(dict.fromkeys(FLOWS, Coupling.ONE_WAY), **changed)

    problem = response.json()
    assert (response.status_code, problem["code"], problem["errors"][0]["pointer"]) == (422, "invalid_body", pointer)
