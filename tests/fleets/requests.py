"""Sample requests for the tests of fleets."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import Place, VehicleClass
from prebook.fleets.store import UnreadableReply
from prebook.messaging.handlers import HandlerContext
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage

NOW = datetime(2027, 3, 1, 7, 0, tzinfo=UTC)
PICKUP_AT = datetime(2027, 3, 1, 8, 20, tzinfo=UTC)
SLOT = datetime(2027, 3, 1, 8, 15, tzinfo=UTC)
FLEETS = ("ada", "borealis", "cargo", "delta")


def handler_context(booking_id: str, now: datetime = NOW) -> HandlerContext:
    return HandlerContext(booking_id, f"{booking_id}.request", {}, now)


def fleet_request(
    fleet: str = "ada",
    *,
    lat: float = 52.5,
    passengers: int = 2,
    pickup_at: datetime = PICKUP_AT,
    ride_minutes: int = 10,
) -> AskFleet:
    return AskFleet(
        fleet=fleet,
        pickup=Place(lat=lat, lon=13.4),
        pickup_at=pickup_at,
        ride_minutes=ride_minutes,
        vehicle_class=VehicleClass.STANDARD,
        passengers=passengers,
    )


def fleet_requests() -> st.SearchStrategy[AskFleet]:
    """Requests for any ride that the contract allows, in any time zone."""
    zones = st.timezones()
    moments = st.datetimes(datetime(2026, 1, 1), datetime(2035, 1, 1), timezones=zones)  # noqa: DTZ001 - zoned by hypothesis
    return st.builds(
        AskFleet,
        fleet=st.sampled_from(FLEETS),
        pickup=st.builds(Place, lat=st.floats(-90, 90), lon=st.floats(-180, 180)),
        pickup_at=moments,
        ride_minutes=st.integers(1, 24 * 60),
        vehicle_class=st.sampled_from(VehicleClass),
        passengers=st.integers(1, 6),
    )


def unreadable_reply(body: bytes, fleet: str = "ada") -> UnreadableReply:
    """Reply that was read as nothing that Ada may send."""
    message = ForeignMessage("application/vnd.ada.reply.v1+json", body)
    return UnreadableReply(
        booking_id="b1",
        fleet=fleet,
        message_id="b1.ask_fleet.ada",
        received_at=NOW,
        unreadable=UnreadableMessage(UnreadableCause.GARBLED, message),
    )


def rides(count: int) -> list[tuple[float, int, datetime]]:
    """Distinct rides over a town and some days, as (latitude, passengers, pickup time)."""
    return [
        (52.3 + number * 0.0007, 1 + number % 4, PICKUP_AT + timedelta(minutes=7 * number)) for number in range(count)
    ]
