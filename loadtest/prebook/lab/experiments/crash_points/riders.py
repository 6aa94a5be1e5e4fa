"""Riders of one case: they repeat a request with the same Idempotency-Key until it is answered."""

import asyncio
from collections.abc import Sequence

import aiohttp

from prebook.lab.load.generator import BookingResponse, ClockOrigin, Generator, PreparedRequest, RequestResult
from prebook.lab.load.samples import REFUSED_STATUSES, Sample

RETRY_INTERVAL_S = 0.5
MAX_WAIT_S = 60.0
"""Seconds after which a persistent rider stops repeating the request."""
IN_PROGRESS = 409
REPEATABLE_STATUSES = REFUSED_STATUSES | {IN_PROGRESS}
"""Statuses after which a rider repeats the request, as after a lost connection."""


class PersistentRiders(Generator):
    """Generator whose riders repeat every request that a crash has interrupted, for up to ``max_wait_s`` seconds."""

    def __init__(self, session: aiohttp.ClientSession, booking_url: str, scenario: str, max_wait_s: float) -> None:
        super().__init__(session, booking_url, scenario)
        self._max_wait_s = max_wait_s

    async def book(self, requests: Sequence[PreparedRequest]) -> Sequence[Sample]:
        """Send all requests at once; return their samples when each is answered or its rider has given up."""
        origin = ClockOrigin.now()
        return await asyncio.gather(*(self._book(request, origin) for request in requests))

    async def _book(self, request: PreparedRequest, origin: ClockOrigin) -> Sample:
        response = await self._post(request)
        while _is_repeatable(response) and self._elapsed_s(request, origin) < self._max_wait_s:
            await asyncio.sleep(RETRY_INTERVAL_S)
            response = await self._post(request)
        result = RequestResult(response, self._elapsed_s(request, origin), refusals=())
        return self._build_sample(request, origin, result, lag_s=0.0)


def _is_repeatable(response: BookingResponse) -> bool:
    return response.status is None or response.status in REPEATABLE_STATUSES
