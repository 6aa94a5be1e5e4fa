"""Load generator whose riders repeat some requests with the same key, and cancel some bookings.

A cancelled booking sends its rider two notices, whose order can be checked, and returns its discount and driver.
"""

import asyncio
import random
from datetime import UTC, datetime

import aiohttp

from prebook.lab.chaos.evidence import Cancellation
from prebook.lab.chaos.repeated_keys import (
    Repetition,
    draw_repetitions,
    with_other_body,
)
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest, transport_error_kind
from prebook.lab.load.retry_policy import parse_problem

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


class ChaosRiders(Generator):
    """Generator that repeats some requests and cancels some accepted bookings.

    ``repetitions`` and ``cancellations`` hold all that have ended, in order of completion.
    """

    def __init__(self, session: aiohttp.ClientSession, booking_url: str, scenario: str, seed: int) -> None:
        super().__init__(session, booking_url, scenario)
        self._seed = seed
        self.repetitions: list[Repetition] = []
        self.cancellations: list[Cancellation] = []

    async def send(self, request: PreparedRequest, origin: ClockOrigin) -> None:
        ride = (self._seed, request.planned.ride, request.planned.label)
        plan = draw_repetitions(*ride)
        async with asyncio.TaskGroup() as attempts:
            for _ in range(plan.concurrent):
                attempts.create_task(self._repeat(request))
            await super().send(request, origin)
            sample = self.samples[-1]  # the sample of this request: no other task has run since it was appended
            if plan.same_after_s is not None:
                attempts.create_task(self._repeat(request, after_s=plan.same_after_s))
            # A key that was refused is not used: another body would make its booking.
            if plan.other_after_s is not None and sample.accepted:
                attempts.create_task(self._repeat(request, after_s=plan.other_after_s, is_same_body=False))
            delay_s = cancel_delay_s(*ride)
            if delay_s is not None and sample.booking_id:
                await asyncio.sleep(delay_s)
                self.cancellations.append(await self._cancel(sample.booking_id))

    async def _repeat(self, request: PreparedRequest, *, after_s: float = 0.0, is_same_body: bool = True) -> None:
        """Send ``request`` again under its key, ``after_s`` seconds from now, with the same or another body."""
        await asyncio.sleep(after_s)
        sent_at = datetime.now(UTC)
        response = await self._post(request if is_same_body else with_other_body(request))
        self.repetitions.append(
            Repetition(
                key=request.key,
                is_same_body=is_same_body,
                sent_at=sent_at,
                answered_at=datetime.now(UTC),
                status=response.status,
                booking_id=response.booking_id,
                code=parse_problem(response.body).code if response.body else "",
                error=response.error,
                named_state=response.state,
                named_fare_cents=response.fare_cents,
            )
        )

    async def _cancel(self, booking_id: str) -> Cancellation:
        sent_at = datetime.now(UTC)
        status: int | None = None
        error: str | None = None
        try:
            async with self._session.delete(f"{self._url}/{booking_id}") as response:
                await response.read()
                status = response.status
        except TimeoutError:
            error = "timeout"
        except aiohttp.ClientError as failure:
            error = transport_error_kind(failure)
        return Cancellation(booking_id, sent_at, status, answered_at=datetime.now(UTC), error=error)
