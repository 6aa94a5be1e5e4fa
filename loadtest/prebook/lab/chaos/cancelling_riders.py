"""Riders who change their mind: some bookings are cancelled soon after they were taken in.

So a booking has two things to tell its rider, one after the other, and gives back what it has been granted.
"""

import asyncio
import random
from collections import Counter

import aiohttp

from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest
from prebook.lab.load.samples import Sample

CANCEL_SHARE = 0.06
MIN_CANCEL_DELAY_S = 0.1
MAX_CANCEL_DELAY_S = 6.0
NO_RESPONSE = 0
"""Counted in the place of a status."""


def cancel_delay_s(seed: int, ride: int, label: str) -> float | None:
    """After how many seconds; None where the rider stays with it. The same ride under another plan is another rider."""
    rng = random.Random(f"fickle:{seed}:{ride}:{label}")
    return rng.uniform(MIN_CANCEL_DELAY_S, MAX_CANCEL_DELAY_S) if rng.random() < CANCEL_SHARE else None


class CancellingRiders(Generator):
    """``cancel_statuses`` counts the responses to their second request by status."""

    def __init__(self, session: aiohttp.ClientSession, booking_url: str, scenario: str, seed: int) -> None:
        super().__init__(session, booking_url, scenario)
        self._seed = seed
        self.cancel_statuses = Counter[int]()

    async def _send(self, request: PreparedRequest, origin: ClockOrigin) -> None:
        await super()._send(request, origin)
        sample = self.samples[-1]  # ours: nothing else has run since it was added
        after_s = cancel_delay_s(self._seed, sample.ride, sample.label)
        if after_s is not None and sample.booking_id:
            await asyncio.sleep(after_s)
            self.cancel_statuses[await self._cancel(sample)] += 1

    async def _cancel(self, sample: Sample) -> int:
        try:
            async with self._session.delete(f"{self._url}/{sample.booking_id}") as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return NO_RESPONSE
