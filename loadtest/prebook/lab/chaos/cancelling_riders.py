"""Load generator whose riders cancel some bookings soon after they were accepted.

A cancelled booking sends its rider two notices, whose order can be checked, and returns its discount and driver.
"""

import asyncio
import random
from datetime import UTC, datetime

import aiohttp

from prebook.lab.chaos.evidence import Cancellation
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest
from prebook.lab.load.samples import Sample

CANCEL_SHARE = 0.06
"""Probability that a rider cancels."""
MIN_CANCEL_DELAY_S = 0.1
MAX_CANCEL_DELAY_S = 6.0


def cancel_delay_s(seed: int, ride: int, label: str) -> float | None:
    """Return the seconds between acceptance and cancellation, or None if the rider keeps the booking.

    ``label``: plan of the booking. The draw depends on seed, ride and plan only.
    """
    rng = random.Random(f"fickle:{seed}:{ride}:{label}")
    return rng.uniform(MIN_CANCEL_DELAY_S, MAX_CANCEL_DELAY_S) if rng.random() < CANCEL_SHARE else None


class CancellingRiders(Generator):
    """Generator that cancels some accepted bookings. ``cancellations``: all that have ended, in order of completion."""

    def __init__(self, session: aiohttp.ClientSession, booking_url: str, scenario: str, seed: int) -> None:
        super().__init__(session, booking_url, scenario)
        self._seed = seed
        self.cancellations: list[Cancellation] = []

    async def _send(self, request: PreparedRequest, origin: ClockOrigin) -> None:
        await super()._send(request, origin)
        sample = self.samples[-1]  # the sample of this request: no other task has run since it was appended
        delay_s = cancel_delay_s(self._seed, sample.ride, sample.label)
        if delay_s is not None and sample.booking_id:
            await asyncio.sleep(delay_s)
            sent_at = datetime.now(UTC)
            self.cancellations.append(Cancellation(sample.booking_id, sent_at, await self._cancel(sample)))

    async def _cancel(self, sample: Sample) -> int | None:
        try:
            async with self._session.delete(f"{self._url}/{sample.booking_id}") as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
