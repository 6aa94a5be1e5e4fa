"""Riders of one case: they repeat a request with the same Idempotency-Key until it is answered."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp

from prebook.lab.load.generator import BookingResponse, PreparedRequest, parse_response
from prebook.lab.load.samples import REFUSED_STATUSES, Sample

RETRY_INTERVAL_S = 0.5
MAX_WAIT_S = 60.0
"""Seconds after which a rider stops repeating the request."""
IN_PROGRESS = 409
NO_FINAL_STATUSES = REFUSED_STATUSES | {IN_PROGRESS}
"""Statuses after which a rider repeats the request, as after a lost connection."""


class PersistentRiders:
    """Books rides, and repeats every request that a crash has interrupted."""

    def __init__(self, session: aiohttp.ClientSession, booking_url: str, scenario: str) -> None:
        self._session = session
        self._url = f"{booking_url}/v1/bookings"
        self._scenario = scenario

    async def book(self, requests: Sequence[PreparedRequest]) -> Sequence[Sample]:
        """Send all requests at once; return their samples when each is answered or its rider has given up."""
        return await asyncio.gather(*map(self._book, requests))

    async def _book(self, request: PreparedRequest) -> Sample:
        clock = asyncio.get_running_loop().time
        started = clock()
        started_at = datetime.now(UTC)
        response = await self._post(request)
        while _is_repeatable(response) and clock() - started < MAX_WAIT_S:
            await asyncio.sleep(RETRY_INTERVAL_S)
            response = await self._post(request)
        return Sample(
            scenario=self._scenario,
            label=request.planned.label,
            ride=request.planned.ride,
            key=request.key,
            intended_at=started_at,
            lag_ms=0.0,
            status=response.status,
            error=response.error,
            response_ms=None if response.status is None else (clock() - started) * 1e3,
            booking_id=response.booking_id,
        )

    async def _post(self, request: PreparedRequest) -> BookingResponse:
        headers = {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=request.body, headers=headers) as response:
                return parse_response(response.status, await response.read(), response.headers.get("Retry-After"))
        except TimeoutError:
            return BookingResponse(error="timeout")
        except (aiohttp.ClientError, OSError):
            return BookingResponse(error="connection")


def _is_repeatable(response: BookingResponse) -> bool:
    return response.status is None or response.status in NO_FINAL_STATUSES
