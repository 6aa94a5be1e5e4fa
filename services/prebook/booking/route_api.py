"""Booking's HTTP API of routes: riders plan the route of a booked ride."""

from collections.abc import Sequence
from typing import Annotated

from litestar import HttpMethod, Response, get, put, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.booking.api import AnyRequest, check_id
from prebook.booking.store import BookingWork
from prebook.booking.use_cases.plan_route import find_route, plan_ride_route
from prebook.booking.views import CREATED
from prebook.contracts.route import MAX_ROUTE_BYTES, RouteGeometry, RouteSummary, RouteView
from prebook.http.bodies import StrictBody, require_json
from prebook.http.problems import problem_responses, trace_of
from prebook.http.rider_identity import RiderIdentity
from prebook.runtime.service import ServiceContext

PATH = "/v1/bookings/{booking_id:str}/route"
BookingId = Annotated[str, PathParameter(description="id of the booking, as in its Location")]
RouteBody = Annotated[RouteGeometry, Body()]
OK = 200


def route_routes(context: ServiceContext[BookingWork]) -> Sequence[ControllerRouterHandler]:
    """Litestar route handlers of the rider-facing API of routes."""
    identity = RiderIdentity(context.settings.rider_header, context.settings.trusted_proxies)

    @put(
        PATH,
        status_code=OK,
        summary="Plan the route of a booking",
        description="The body is a GeoJSON LineString of at most 256 KiB that leads from the pickup to the drop-off, "
        "within 1,000 m of each (422 `route_elsewhere`). A route can be replaced until the booking's pickup_at; "
        "afterwards the response is 409 `pickup_has_passed`, and 409 `booking_over` if the booking has ended. "
        "The same route again changes nothing, and has the same response.",
        dto=StrictBody[RouteGeometry],
        return_dto=None,
        before_request=check_content_type,
        request_max_body_size=MAX_ROUTE_BYTES,
        responses={
            CREATED: ResponseSpec(RouteSummary, description="the first route", generate_examples=False),
            **problem_responses(400, 401, 404, 409, 413, 415, 422),
        },
    )
    async def plan(request: AnyRequest, booking_id: BookingId, data: RouteBody) -> Response[RouteSummary]:
        rider_id = identity.rider_of(request)
        planning = plan_ride_route(context, check_id(booking_id), rider_id, data, trace_of(request))
        planned = await context.tasks.run_shielded(planning)
        summary = RouteSummary(
            booking_id=booking_id, revision=planned.revision, points=len(planned.geometry.coordinates)
        )
        return Response(summary, status_code=CREATED if planned.revision == 1 else OK)

    @get(PATH, summary="Get the route of a booking", responses=problem_responses(400, 401, 404))
    async def get_route(request: AnyRequest, booking_id: BookingId) -> RouteView:
        planned = await find_route(context, check_id(booking_id), identity.rider_of(request))
        return RouteView(booking_id=booking_id, revision=planned.revision, geometry=planned.geometry)

    # Litestar's own response names only the method that was registered first on a path.
    @route(PATH, http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False)
    async def get_allowed_methods() -> Response[None]:
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, PUT"})

    return [get_allowed_methods, plan, get_route]


async def check_content_type(request: AnyRequest) -> None:
    """Check Content-Type before the body is read. Raises Problem (415)."""
    require_json(request.headers.get("content-type", ""))
