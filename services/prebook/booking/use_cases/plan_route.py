"""Use case: a rider plans the route of a booked ride, which the fleets' drivers follow."""

from dataclasses import dataclass

from prebook.booking.domain.booking import Booking
from prebook.booking.store import BookingWork, PlannedRoute
from prebook.booking.use_cases.cancel import find_booking
from prebook.contracts.distance import distance_m
from prebook.contracts.events import RoutePlanned
from prebook.contracts.ride import BookingState, Place
from prebook.contracts.route import RouteGeometry
from prebook.flows import ROUTE_PLANNED
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext

MAX_OFFSET_M = 1_000
"""Distance of the ends of a route from pickup and drop-off, in metres: streets begin beside a place."""
ENDED_STATES = frozenset({BookingState.REJECTED, BookingState.EXPIRED, BookingState.CANCELLED, BookingState.FAILED})
"""States in which there is no ride to follow a route."""


@dataclass(frozen=True, slots=True)
class PlanRoute:
    """Command: replace the route of a booking; the same route again changes nothing."""

    booking_id: str
    geometry: RouteGeometry


async def plan_route(_: HandlerContext, command: PlanRoute, work: BookingWork) -> HandlerResult:
    """Store the route and publish it, if it is another one than before.

    Raises Problem if the booking has ended, if its pickup has passed on the store's clock, or if the route is that of
    another ride.
    """
    locked = await work.lock(command.booking_id)
    if locked is None:
        return HandlerResult()
    booking = locked.booking
    if booking.state in ENDED_STATES:
        raise Problem(409, "booking_over", f"it is {booking.state} already; there is no ride to plan")
    if locked.db_now > booking.ride.pickup_at:
        raise Problem(409, "pickup_has_passed", "a route can be planned until the booking's pickup_at")
    _require_ends(booking, command.geometry)
    revision = await work.save_route(booking.id, command.geometry)
    if revision is None:
        return HandlerResult()
    planned = RoutePlanned(booking_id=booking.id, revision=revision, geometry=command.geometry)
    return HandlerResult(events=(ROUTE_PLANNED.new_event(planned, key=str(revision)),))


async def plan_ride_route(
    context: ServiceContext[BookingWork],
    booking_id: str,
    rider_id: str | None,
    geometry: RouteGeometry,
    trace: TraceContext,
) -> PlannedRoute:
    """Plan the route of a booking, if given only one of this rider, and return it as stored. Raises Problem."""
    booking = await find_booking(context, booking_id, rider_id)
    message_context = MessageContext(booking.id, booking.plan, trace, context.clock())
    await context.gateway.execute(PlanRoute(booking_id, geometry), message_context)
    return await find_route(context, booking_id, rider_id)


async def find_route(context: ServiceContext[BookingWork], booking_id: str, rider_id: str | None) -> PlannedRoute:
    """Read the route of a booking, if given only one of this rider. Raises Problem if there is none."""
    booking = await find_booking(context, booking_id, rider_id)
    async with context.units.commands() as work:
        route = await work.find_route(booking.id)
    if route is None:
        raise Problem(404, "no_route", "plan one: PUT it to the same path")
    return route


def _require_ends(booking: Booking, geometry: RouteGeometry) -> None:
    """Raise Problem if the route does not lead from the booking's pickup to its drop-off."""
    ends = (
        ("pickup", booking.ride.pickup, geometry.coordinates[0]),
        ("dropoff", booking.ride.dropoff, geometry.coordinates[-1]),
    )
    for name, place, (lon, lat) in ends:
        offset_m = distance_m(place, Place(lat=lat, lon=lon))
        if offset_m > MAX_OFFSET_M:
            detail = f"its end is {offset_m} m away from the {name}; {MAX_OFFSET_M} m are allowed"
            raise Problem(422, "route_elsewhere", f"{detail}. A point is longitude and latitude, in this order")
