"""A load without an end: rides arrive by a seed, and the settings can change at any moment."""

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import msgspec

from prebook.control_room.load_contract import LoadProgress, LoadSettings
from prebook.lab.load.arrivals import SEGMENTS, ArrivalProcess, Arrivals, ArrivalShape, arrival_offsets
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.retry_policy import RiderRetryPolicy
from prebook.lab.load.rides import booking_request, campaign_week, nth_ride
from prebook.lab.load.samples import Sample, idempotency_key
from prebook.lab.quantiles import nearest_rank

RETRIES = RiderRetryPolicy(max_retries=3, patience_s=60.0)
"""Refused riders come back when they are told to, up to three times."""
WINDOW_S = 10.0
"""Window of the quantiles."""


def endless_requests(settings: LoadSettings) -> Iterator[PlannedRequest]:
    """Yield requests in the order of their times, without end: each ride once under every plan, in random order."""
    rng = random.Random(f"offers:{settings.seed}")
    ride = -1
    labels: list[str] = []
    for at_s in _endless_arrivals(settings):
        if not labels:
            ride += 1
            labels = rng.sample([plan.value for plan in settings.plans], len(settings.plans))
        yield PlannedRequest(at_s, ride, labels.pop())


def current_rate_per_s(settings: LoadSettings, elapsed_s: float) -> float:
    """Return the rate of arrivals ``elapsed_s`` seconds after the start."""
    arrivals = _arrivals_of_a_period(settings)
    at_s = elapsed_s % settings.period_s
    segments = SEGMENTS[arrivals.process](arrivals)
    return next((each.rate_per_s for each in segments if each.start_s <= at_s < each.end_s), settings.rate_per_s)


def _endless_arrivals(settings: LoadSettings) -> Iterator[float]:
    arrivals = _arrivals_of_a_period(settings)
    for period in count():
        for at_s in arrival_offsets(arrivals, f"{settings.seed}:{period}"):
            yield period * settings.period_s + at_s


def _arrivals_of_a_period(settings: LoadSettings) -> Arrivals:
    shape = ArrivalShape(factor=settings.factor, period_s=settings.period_s)
    return Arrivals(ArrivalProcess(settings.shape.value), settings.rate_per_s, settings.period_s, shape=shape)


@dataclass
class Tally:
    """Counts of a load, and the samples of the last WINDOW_S seconds."""

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    returned: int = 0
    _recent: deque[tuple[float, Sample]] = field(default_factory=deque)

    def add(self, sample: Sample, now_s: float) -> None:
        """Count a rider who is done. ``now_s``: seconds of a clock that never goes back."""
        self._recent.append((now_s, sample))
        if sample.accepted:
            self.accepted += 1
            self.returned += bool(sample.refusals)
        elif sample.refused:
            self.refused += 1
        else:
            self.failed += 1

    def progress(self, offered: int, rate_per_s: float, now_s: float) -> LoadProgress:
        """Return the progress of a load that has offered so many rides."""
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        responses = sorted(sample.response_ms for _, sample in self._recent if sample.response_ms is not None)
        lags = sorted(sample.lag_ms for _, sample in self._recent)
        return LoadProgress(
            offered=offered,
            accepted=self.accepted,
            refused=self.refused,
            failed=self.failed,
            waiting=offered - self.accepted - self.refused - self.failed,
            returned=self.returned,
            rate_per_s=rate_per_s,
            response_p50_ms=_quantile(responses, 50),
            response_p99_ms=_quantile(responses, 99),
            lag_p99_ms=_quantile(lags, 99),
        )


def _quantile(ordered: list[float], percent: int) -> float | None:
    return round(nearest_rank(ordered, percent), 3) if ordered else None


class OpenLoad:
    """Offers rides by the present settings. ``run_id``: prefix of all idempotency keys, unique to this load."""

    def __init__(self, generator: Generator, run_id: str) -> None:
        self._generator = generator
        self._run_id = run_id
        self._tally = Tally()
        self._settings: LoadSettings | None = None
        self._origin: ClockOrigin | None = None
        self._offering: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._changes = 0

    def change(self, settings: LoadSettings) -> None:
        """Offer rides by these settings from now on. Rides that are offered already go on."""
        self.stop()
        self._settings = settings
        self._origin = ClockOrigin.now()
        self._changes += 1
        self._offering = asyncio.create_task(self._offer(settings, self._origin, f"{self._changes}"))

    def stop(self) -> None:
        """Offer no more rides."""
        if self._offering:
            self._offering.cancel()
        self._offering = None

    async def drain(self) -> None:
        """Wait until no rider waits any more."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    def progress(self) -> LoadProgress:
        """Return the progress until now."""
        now_s = asyncio.get_running_loop().time()
        for sample in self._generator.take_samples():
            self._tally.add(sample, now_s)
        rate_per_s = 0.0
        if self._offering and self._settings and self._origin:
            rate_per_s = current_rate_per_s(self._settings, now_s - self._origin.monotonic)
        return self._tally.progress(self._generator.sent, rate_per_s, now_s)

    async def _offer(self, settings: LoadSettings, origin: ClockOrigin, scenario: str) -> None:
        week = campaign_week(datetime.now(UTC))
        encode = msgspec.json.Encoder().encode
        for planned in endless_requests(settings):
            ride = nth_ride(settings.seed, planned.ride, week)
            body = encode(booking_request(ride, PLANS.get(planned.label)))
            key = idempotency_key(self._run_id, scenario, planned.label, planned.ride)
            await origin.wait_until(planned.at_s)
            self._generator.sent += 1
            sending = asyncio.create_task(self._generator.send(PreparedRequest(planned, key, body), origin))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
