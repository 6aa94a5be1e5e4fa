"""Use case: a rider looks at a trip."""

from collections.abc import Sequence
from dataclasses import dataclass

from prebook.booking.domain.booking import Booking
from prebook.booking.domain.trip import Trip
from prebook.booking.store import BookingWork
from prebook.http.problems import Problem
from prebook.runtime.service import ServiceContext


@dataclass(frozen=True, slots=True)
class FoundTrip:
    """A trip with its legs, in their order."""

    trip: Trip
    legs: Sequence[Booking]


async def find_trip(context: ServiceContext[BookingWork], trip_id: str, rider_id: str | None) -> FoundTrip:
    """Read a trip, if given only one of this rider. Raises Problem if there is no such trip."""
    async with context.units.commands() as work:
        trip = await work.find_trip(trip_id)
        legs = await work.find_legs(trip_id)
    if trip is None or rider_id not in {None, trip.rider_id}:
        raise Problem(404, "no_such_trip", "check the id in the Location of the response to POST /v1/trips")
    return FoundTrip(trip, legs)
