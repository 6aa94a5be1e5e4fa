"""Claim checks of messages: on the wire, in the outbox, and from a rider's route to the fleets."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.events import BookingConfirmed
from prebook.contracts.notification import Notice, NotifyRider
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Money, VehicleClass
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.claim_checks import ClaimCheckPolicy, receivers_of, redeem_nothing, sender_of
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import ClaimLost, Malformed
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.patterns.claim_check import MAX_CHECKED_BYTES, ClaimCheck
from prebook.postgres.flush import PendingWrites, flush_statement
from tests.messaging.examples import NOW, request
from tests.world import SuiteWorld, ride

LIFETIME = timedelta(days=15)
POLICY = ClaimCheckPolicy(threshold_bytes=1_000, lifetime=LIFETIME)
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)


def with_text(length: int) -> Envelope:
    return request(body=NotifyRider(rider_id="rosa", notice=Notice.CONFIRMED, text="x" * length))


def checked() -> Envelope:
    return POLICY.check_in(with_text(2_000))[0]


def test_a_body_up_to_the_threshold_stays_in_its_message() -> None:
    small = with_text(0)
    largest = with_text(POLICY.threshold_bytes - len(encode(small).body))
    assert POLICY.check_in(largest) == (largest, None)
    assert POLICY.check_in(largest)[0] is largest


def test_a_larger_body_is_stored_under_the_reference_that_its_message_carries() -> None:
    original = with_text(2_000)
    message, stored = POLICY.check_in(original)
    assert stored is not None
    assert isinstance(message.body, ClaimCheck)
    assert (stored.reference, stored.body, stored.lifetime) == (
        message.body.reference,
        encode(original).body,
        LIFETIME,
    )
    assert (stored.message_id, stored.kind, stored.flow) == (original.id, MessageKind.REQUEST, "notify_rider")
    assert POLICY.check_in(message) == (message, None)


def test_a_body_that_no_store_takes_stays_in_its_message() -> None:
    assert POLICY.check_in(with_text(MAX_CHECKED_BYTES))[1] is None


def test_a_message_that_the_broker_routes_by_its_body_stays_whole() -> None:
    confirmed = BookingConfirmed(
        booking_id="b1",
        fleet="f" * 2_000,
        driver="d",
        fare=Money(cents=2_100),
        vehicle_class=VehicleClass.STANDARD,
        pickup_at=NOW,
        zone="z",
        distance_m=10_000,
    )
    message = request(id="b1.booking_confirmed", kind=MessageKind.EVENT, flow="booking_confirmed", body=confirmed)
    assert POLICY.check_in(message) == (message, None)


def test_a_message_with_a_check_has_no_body_and_survives_the_wire() -> None:
    wire = encode(checked())
    assert wire.body == b""
    assert wire.headers["ce-type"] == encode(with_text(2_000)).headers["ce-type"]
    assert decode(wire).body == checked().body
    assert encode(replace(decode(wire), attempt=2)).headers["ce-dataref"] == wire.headers["ce-dataref"]


def test_a_body_takes_precedence_over_its_reference() -> None:
    wire = encode(checked())
    assert decode(WireMessage(wire.headers, encode(with_text(3)).body)).body == with_text(3).body


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce-dataref", "/inbox/m1"),
        ("ce-dataref", "http://elsewhere/checked-bodies/" + "0" * 64),
        ("ce-dataref", "/checked-bodies/../" + "0" * 64),
        ("ce-dataref", "/checked-bodies/" + "0" * 63),
        ("prebook-body-bytes", str(MAX_CHECKED_BYTES + 1)),
        ("prebook-body-bytes", "-1"),
        ("prebook-body-bytes", "9" * 5_000),
        ("prebook-body-sha256", "none"),
        ("ce-type", "prebook.unknown.v1"),
        ("ce-type", "prebook.fare_quoted.v1"),
    ],
)
def test_a_malformed_check_is_refused(header: str, value: str) -> None:
    wire = encode(checked())
    with pytest.raises(Malformed):
        decode(WireMessage({**wire.headers, header: value}, b""))


def test_every_message_has_one_sender_and_only_its_receivers_may_read() -> None:
    assert (sender_of(MessageKind.REQUEST, "quote_fare"), sender_of(MessageKind.REPLY, "quote_fare")) == (
        "booking",
        "pricing",
    )
    assert receivers_of(MessageKind.REQUEST, "quote_fare") == {"pricing"}
    assert receivers_of(MessageKind.REPLY, "quote_fare") == {"booking"}
    for event_type in EVENT_TYPES:
        assert sender_of(MessageKind.EVENT, event_type.name) == event_type.publisher
        assert receivers_of(MessageKind.EVENT, event_type.name) == event_type.subscribers
    assert (sender_of(MessageKind.EVENT, "no_such"), receivers_of(MessageKind.REPLY, "no_such")) == ("", frozenset())


def test_messages_without_a_check_are_written_by_the_same_statement_as_before() -> None:
    message = OutboxMessage(POLICY.check_in(with_text(3))[0], "broker", "b1")
    assert "checked_body" not in str(flush_statement(PendingWrites(enqueued=[message]).parts))


async def test_a_process_without_a_store_parks_a_message_with_a_check() -> None:
    with pytest.raises(ClaimLost) as lost:
        await redeem_nothing(checked())
    assert lost.value.cause == "claim_missing"


def line(points: int) -> dict[str, Any]:
    step = 0.09 / (points - 1)
    return {"type": "LineString", "coordinates": [[13.4, round(52.5 + number * step, 9)] for number in range(points)]}


@pytest.mark.parametrize(("points", "stored"), [(20, 0), (8_000, 1)])
async def test_a_route_reaches_the_fleets_whether_it_is_checked_or_not(points: int, stored: int) -> None:
    async with SuiteWorld() as world:
        booking_id = await world.book(PLAN, **ride())
        response = await world.http.client("booking").put(f"/v1/bookings/{booking_id}/route", json=line(points))
        assert response.status_code == 201, response.text
        await world.wait_for_state("fleets", lambda fleets: booking_id in fleets.routes, timeout_s=20)
        revision, geometry = world.databases["fleets"].tables.state.routes[booking_id]
        assert (revision, len(geometry.coordinates)) == (1, points)
        assert len(world.databases["booking"].tables.bodies) == stored
