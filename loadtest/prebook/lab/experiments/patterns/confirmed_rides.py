"""Confirmed rides for experiments with routers and filters: the rides of the load generator, as events of booking."""

from datetime import UTC, datetime

from prebook.contracts.distance import distance_m
from prebook.contracts.events import BookingConfirmed
from prebook.contracts.ride import Money
from prebook.contracts.zone import dispatch_zone
from prebook.flows import BOOKING_CONFIRMED
from prebook.lab.experiments.events import PLAN
from prebook.lab.experiments.patterns.site import id_of
from prebook.lab.load.rides import nth_ride
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope, MessageKind

WEEK = datetime(2030, 1, 7, tzinfo=UTC)
BASE_CENTS = 350
CENTS_PER_KM = 180


def confirmed_rides(names: list[str], seed: int) -> dict[str, BookingConfirmed]:
    """Return a confirmed ride for each name, determined by ``seed``."""
    return {name: _confirmed_ride(name, seed, number) for number, name in enumerate(names)}


def _confirmed_ride(name: str, seed: int, number: int) -> BookingConfirmed:
    ride = nth_ride(seed, number, WEEK)
    metres = distance_m(ride.pickup, ride.dropoff)
    return BookingConfirmed(
        booking_id=name,
        fleet="lab",
        driver="lab",
        fare=Money(cents=BASE_CENTS + CENTS_PER_KM * metres // 1000),
        vehicle_class=ride.vehicle_class,
        pickup_at=ride.pickup_at,
        zone=dispatch_zone(ride.pickup),
        distance_m=metres,
    )


def ride_message(ride: BookingConfirmed, run: str, token: str) -> WireMessage:
    """Return the event as booking publishes it; its id is unique to ``run`` and ``token``."""
    envelope = Envelope(
        id=id_of(ride.booking_id, run, token, BOOKING_CONFIRMED),
        kind=MessageKind.EVENT,
        flow=BOOKING_CONFIRMED.name,
        body=ride,
        source=BOOKING_CONFIRMED.publisher,
        conversation_id=ride.booking_id,
        time=utc_now(),
        plan=PLAN,
    )
    return encode(envelope)
