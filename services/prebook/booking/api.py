"""Booking's HTTP API: riders book, view and cancel rides; a reconciling client reads the ledger."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, delete, get, post, route
from litestar.datastructures import ResponseHeader
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, HeaderParameter, PathParameter, QueryParameter
from litestar.types import ControllerRouterHandler

from prebook.booking.store import BookingWork, StoredResponse
from prebook.booking.use_cases.book import BookRide
from prebook.booking.use_cases.cancel import cancel_ride, find_booking
from prebook.booking.use_cases.response_times import ResponseTimes
from prebook.booking.use_cases.validation import with_rider
from prebook.booking.views import (
    ACCEPTED,
    CREATED,
    ledger_clocks_of,
    ledger_page_of,
    ledger_position_of,
    ride_details_of,
    trip_ledger_page_of,
    view_of,
)
from prebook.contracts.booking import BookingRequest, BookingView, LedgerClocks, LedgerPage, LedgerTotals, RideDetails
from prebook.contracts.trip_http import TripLedgerPage
from prebook.http.bodies import StrictBody, require_json
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import Problem, problem_responses, trace_of
from prebook.http.rider_identity import RiderIdentity
from prebook.messaging.codec import SAFE_ID
from prebook.runtime.service import ServiceContext

AnyRequest = Request[Any, Any, Any]

IDEMPOTENCY_KEY_PATTERN = re.compile(r"[!-~]{1,255}\Z")
IdempotencyKey = Annotated[
    str, HeaderParameter(name="Idempotency-Key", pattern="^[!-~]{1,255}$", description="unique per booking")
]
BookingId = Annotated[str, PathParameter(description="id of the booking, as in its Location")]
BookingBody = Annotated[BookingRequest, Body()]
LedgerPrefix = Annotated[str, QueryParameter(pattern="^[!-~]{0,255}$")]
LedgerCursor = Annotated[str, QueryParameter(pattern="^([A-Za-z0-9_.:-]{1,200}/[!-~]{1,255})?$")]
LOCATION = ResponseHeader(name="Location", description="URL of the booking", documentation_only=True)
RETRY_AFTER = ResponseHeader(
    name="Retry-After",
    description="seconds until the next poll; sent with 202",
    documentation_only=True,
    required=False,
)


def routes(context: ServiceContext[BookingWork], book_ride: BookRide) -> Sequence[ControllerRouterHandler]:
    """Litestar route handlers of the rider-facing API."""
    identity = RiderIdentity(context.settings.rider_header, context.settings.trusted_proxies)

    @post(
        "/v1/bookings",
        status_code=ACCEPTED,
        summary="Book a ride ahead",
        dto=StrictBody[BookingRequest],
        return_dto=None,
        before_request=check_headers,
        response_headers=[LOCATION, RETRY_AFTER],
        responses={
            CREATED: ResponseSpec(BookingView, description="the booking is settled", generate_examples=False),
            **problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 503),
        },
    )
    async def book(request: AnyRequest, data: BookingBody, key: IdempotencyKey) -> Response[BookingView]:
        return _http_response(
            await book_ride.book(key, with_rider(data, identity.rider_of(request)), trace_of(request))
        )

    # Litestar's own response names only the method that was registered first on a path.
    @route("/v1/bookings/{booking_id:str}", http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False)
    async def get_allowed_methods() -> Response[None]:
        return Response(None, status_code=204, headers={"allow": "DELETE, GET, OPTIONS"})

    @get("/v1/bookings/{booking_id:str}", summary="Get a booking", responses=problem_responses(400, 401, 404))
    async def get_booking(request: AnyRequest, booking_id: BookingId) -> BookingView:
        rider_id = identity.rider_of(request)
        return view_of(await find_booking(context, check_id(booking_id), rider_id))

    @delete(
        "/v1/bookings/{booking_id:str}",
        status_code=200,
        summary="Cancel a booking",
        description="A booking can be cancelled until its pickup_at; afterwards the response is "
        "409 `pickup_has_passed`. A booking that was rejected, expired or failed is refused with 409 `booking_over`. "
        "A repeated cancellation returns the cancelled booking, also after the pickup.",
        responses=problem_responses(400, 401, 404, 409),
    )
    async def cancel(request: AnyRequest, booking_id: BookingId) -> BookingView:
        rider_id = identity.rider_of(request)
        cancelling = cancel_ride(context, check_id(booking_id), rider_id, trace_of(request))
        return view_of(await context.tasks.run_shielded(cancelling))

    return [book, get_allowed_methods, get_booking, cancel]


def internal_routes(context: ServiceContext[BookingWork], response_times: ResponseTimes) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers of the ledger and of single rides, for the console."""

    @get(
        "/v1/ledger",
        summary="List the outcome of every booking, by Idempotency-Key",
        responses=problem_responses(400, 401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def list_ledger(
        prefix: LedgerPrefix = "", after: LedgerCursor = "", limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 500
    ) -> LedgerPage:
        async with context.units.commands() as work:
            return ledger_page_of(await work.read_ledger(prefix, ledger_position_of(after), limit), limit)

    @get(
        "/v1/ledger/trips",
        summary="List the outcome of every trip, by Idempotency-Key",
        responses=problem_responses(400, 401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def list_trips(
        prefix: LedgerPrefix = "", after: LedgerCursor = "", limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 500
    ) -> TripLedgerPage:
        async with context.units.commands() as work:
            return trip_ledger_page_of(await work.read_trip_ledger(prefix, ledger_position_of(after), limit), limit)

    @get(
        "/v1/ledger/totals",
        summary="Count all bookings by plan and state",
        responses=problem_responses(401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def count_bookings() -> LedgerTotals:
        async with context.units.commands() as work:
            return LedgerTotals(totals=tuple(await work.read_ledger_totals()))

    @get(
        "/v1/ledger/clocks",
        summary="Get exact quantiles of the times to response, outcome and notice, by plan",
        responses=problem_responses(400, 401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def read_clocks(window_s: Annotated[int, QueryParameter(ge=1, le=600)] = 60) -> LedgerClocks:
        async with context.units.commands() as work:
            clocks = await work.read_clocks(window_s)
        return ledger_clocks_of([*response_times.within(window_s), *clocks], window_s)

    @get(
        "/v1/rides/{booking_id:str}",
        summary="Get the ride of a booking, without its rider",
        responses=problem_responses(401, 403, 404),
        opt=ALLOW_CONSOLE,
    )
    async def get_ride(booking_id: BookingId) -> RideDetails:
        return ride_details_of(await find_booking(context, check_id(booking_id), rider_id=None))

    return [list_ledger, list_trips, count_bookings, read_clocks, get_ride]


async def check_headers(request: AnyRequest) -> None:
    """Check Content-Type and Idempotency-Key before the body is read. Raises Problem (415 or 400)."""
    require_json(request.headers.get("content-type", ""))
    key = request.headers.get("idempotency-key", "")
    if not key:
        raise Problem(
            400, "idempotency_key_missing", "send an Idempotency-Key, the same one on every attempt at a booking"
        )
    if not IDEMPOTENCY_KEY_PATTERN.match(key):
        raise Problem(400, "idempotency_key_invalid", "an Idempotency-Key is 1 to 255 visible ASCII characters")


def check_id(booking_id: str) -> str:
    """Return the id. Raises Problem (404) if no booking can have it."""
    if not SAFE_ID.match(booking_id):
        raise Problem(404, "no_such_booking", f"the id of a booking matches {SAFE_ID.pattern}")
    return booking_id


def _http_response(response: StoredResponse) -> Response[Any]:
    location = {"location": f"/v1/bookings/{response.booking_id}"}
    retry_after = {"retry-after": "1"} if response.status == ACCEPTED else {}
    return Response(
        response.body, status_code=response.status, headers={**location, **retry_after}, media_type="application/json"
    )
