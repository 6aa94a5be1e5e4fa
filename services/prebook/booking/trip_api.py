"""Booking's HTTP API of trips: riders book, view and cancel several rides as one."""

from collections.abc import Sequence
from typing import Annotated

from litestar import HttpMethod, Response, delete, get, post, route
from litestar.datastructures import ResponseHeader
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.booking.api import RETRY_AFTER, AnyRequest, IdempotencyKey, check_headers
from prebook.booking.store import BookingWork
from prebook.booking.use_cases.book_trip import BookTrip
from prebook.booking.use_cases.cancel_trip import cancel_whole_trip
from prebook.booking.use_cases.find_trip import find_trip
from prebook.booking.use_cases.validation import with_rider
from prebook.booking.views import ACCEPTED, trip_view_of
from prebook.contracts.trip_http import TripRequest, TripView
from prebook.http.bodies import StrictBody
from prebook.http.problems import Problem, problem_responses, trace_of
from prebook.http.rider_identity import RiderIdentity
from prebook.messaging.codec import SAFE_ID
from prebook.runtime.service import ServiceContext

TripId = Annotated[str, PathParameter(description="id of the trip, as in its Location")]
TripBody = Annotated[TripRequest, Body()]
LOCATION = ResponseHeader(name="Location", description="URL of the trip", documentation_only=True)


def trip_routes(context: ServiceContext[BookingWork], book_trip: BookTrip) -> Sequence[ControllerRouterHandler]:
    """Litestar route handlers of the rider-facing API of trips."""
    identity = RiderIdentity(context.settings.rider_header, context.settings.trusted_proxies)

    @post(
        "/v1/trips",
        status_code=ACCEPTED,
        summary="Book several rides as one trip",
        description="Each leg becomes a booking; the trip has one outcome, one notification and one deadline. "
        "Policy `all`: the first leg that is not confirmed ends the trip, and its other legs are cancelled. "
        "Policy `partial`: confirmed legs are kept.",
        dto=StrictBody[TripRequest],
        return_dto=None,
        before_request=check_headers,
        response_headers=[LOCATION, RETRY_AFTER],
        responses=problem_responses(400, 401, 403, 413, 415, 422, 429, 503),
    )
    async def book(request: AnyRequest, data: TripBody, key: IdempotencyKey) -> Response[TripView]:
        rider_request = with_rider(data, identity.rider_of(request))
        record = await book_trip.book(key, rider_request, trace_of(request))
        headers = {"location": f"/v1/trips/{record.trip_id}", "retry-after": "1"}
        stored: Response[TripView] = Response(  # the stored body is the view, encoded
            record.response,  # type: ignore[arg-type]
            status_code=ACCEPTED,
            headers=headers,
            media_type="application/json",
        )
        return stored

    # Litestar's own response names only the method that was registered first on a path.
    @route("/v1/trips/{trip_id:str}", http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False)
    async def get_allowed_methods() -> Response[None]:
        return Response(None, status_code=204, headers={"allow": "DELETE, GET, OPTIONS"})

    @get("/v1/trips/{trip_id:str}", summary="Get a trip with its legs", responses=problem_responses(400, 401, 404))
    async def get_trip(request: AnyRequest, trip_id: TripId) -> TripView:
        found = await find_trip(context, _check_id(trip_id), identity.rider_of(request))
        return trip_view_of(found.trip, found.legs)

    @delete(
        "/v1/trips/{trip_id:str}",
        status_code=200,
        summary="Cancel a trip with all of its legs",
        description="A trip can be cancelled until the first pickup_at of its confirmed or open legs; afterwards the "
        "response is 409 `pickup_has_passed`. A trip that was rejected or expired is refused with 409 `trip_over`. "
        "A repeated cancellation returns the cancelled trip, also after the pickup.",
        responses=problem_responses(400, 401, 404, 409),
    )
    async def cancel(request: AnyRequest, trip_id: TripId) -> TripView:
        rider_id = identity.rider_of(request)
        cancelling = cancel_whole_trip(context, _check_id(trip_id), rider_id, trace_of(request))
        found = await context.tasks.run_shielded(cancelling)
        return trip_view_of(found.trip, found.legs)

    return [book, get_allowed_methods, get_trip, cancel]


def _check_id(trip_id: str) -> str:
    if not SAFE_ID.match(trip_id):
        raise Problem(404, "no_such_trip", f"the id of a trip matches {SAFE_ID.pattern}")
    return trip_id
