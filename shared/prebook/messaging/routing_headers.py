"""Headers by which the broker routes and filters messages; derived from the body, so that they never contradict it."""

from collections.abc import Callable, Mapping
from typing import Any

from prebook.contracts.events import BookingConfirmed
from prebook.contracts.message import Message
from prebook.messaging.headers import DISTANCE_BAND_HEADER, FARE_BAND_HEADER, VEHICLE_CLASS_HEADER, ZONE_HEADER
from prebook.patterns.message_filter import band

FARE_BOUNDS_CENTS = (1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 50_000)
DISTANCE_BOUNDS_M = (2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000)
NO_HEADERS: Mapping[str, str] = {}


def _confirmed_ride_headers(event: BookingConfirmed) -> Mapping[str, str]:
    return {
        VEHICLE_CLASS_HEADER: event.vehicle_class.value,
        ZONE_HEADER: event.zone,
        FARE_BAND_HEADER: str(band(event.fare.cents, FARE_BOUNDS_CENTS)),
        DISTANCE_BAND_HEADER: str(band(event.distance_m, DISTANCE_BOUNDS_M)),
    }


_HEADERS_BY_BODY: Mapping[type[Message], Callable[[Any], Mapping[str, str]]] = {
    BookingConfirmed: _confirmed_ride_headers
}


def routing_headers(body: Message) -> Mapping[str, str]:
    """Return the routing headers of a message with this body; most have none."""
    headers_of = _HEADERS_BY_BODY.get(type(body))
    return headers_of(body) if headers_of else NO_HEADERS
