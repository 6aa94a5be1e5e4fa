"""API of the control room: the stream of figures, and a ride booked by hand.

| request | response |
|---|---|
| ``GET /v1/live`` | ``text/event-stream``: a snapshot, then deltas and heartbeats; ``Last-Event-ID`` resumes |
| ``POST /v1/rides`` | books one ride, with any plan: booking's response |
| ``GET /v1/rides/{booking_id}`` | a booking as its rider sees it: booking's response |
"""

from collections.abc import AsyncIterator, Sequence
from secrets import token_hex
from typing import Annotated, Any

import httpx
from litestar import Request, Response, get, post
from litestar.params import Body, PathParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from prebook.contracts.booking import BookingRequest
from prebook.control_room.feed import MAX_WATCHERS, Feed, TooManyWatchers
from prebook.control_room.upstream import Upstream
from prebook.http.bodies import StrictBody
from prebook.http.problems import Problem

EVENT_STREAM = "text/event-stream"
BOOKING_TIMEOUT_S = 12.0
"""Seconds for a response of booking, which answers within 8 s."""
RIDE_KEY_PREFIX = "control-room-"
BookingId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_.:-]{1,200}$", description="id of the booking")]
RideBody = Annotated[BookingRequest, Body()]


def api_routes(feed: Feed, client: httpx.AsyncClient, booking_url: str) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers. ``booking_url``: base URL of booking's public listener."""
    booking = Upstream(client, "booking", booking_url, BOOKING_TIMEOUT_S)

    @get("/v1/live", include_in_schema=False)
    async def follow(request: Request[Any, Any, Any]) -> Stream:
        events = feed.follow(_last_event_id(request.headers.get("last-event-id", "")))
        try:
            first = await anext(events)
        except TooManyWatchers:
            detail = f"{MAX_WATCHERS} streams are open; close a window of the control room"
            raise Problem(503, "too_many_streams", detail, headers={"retry-after": "5"}) from None
        return Stream(_chain(first, events), media_type=EVENT_STREAM)

    @post("/v1/rides", summary="Book one ride", dto=StrictBody[BookingRequest], return_dto=None)
    async def book(data: RideBody) -> Response[bytes]:
        return await booking.call("POST", "/v1/bookings", {"idempotency-key": f"{RIDE_KEY_PREFIX}{token_hex(8)}"}, data)

    @get("/v1/rides/{booking_id:str}", summary="Get a booking")
    async def get_ride(booking_id: BookingId) -> Response[bytes]:
        return await booking.call("GET", f"/v1/bookings/{booking_id}")

    return [follow, book, get_ride]


async def _chain(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in events:
        yield event


def _last_event_id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
