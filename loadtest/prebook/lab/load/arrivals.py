"""Arrival times of rides: seeded, fixed before the run, independent of the suite's behaviour (open workload model).

A process generates arrivals at unit rate; a piecewise constant intensity maps them to seconds. A burst is therefore the
same process at a higher intensity, for constant and Poisson arrivals alike. Source: time change of a Poisson process.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, takewhile


class ArrivalProcess(StrEnum):
    """Arrival processes. All except ``constant`` and ``replay`` are Poisson processes."""

    CONSTANT = "constant"
    POISSON = "poisson"
    BURST = "burst"
    STEP = "step"
    """``factor`` times the rate in the second half."""
    SPIKE = "spike"
    """``factor`` times the rate for a tenth of the duration, in the middle."""
    SQUARE = "square"
    """Alternately the rate and ``factor`` times the rate, each for half a period."""
    REPLAY = "replay"
    """The arrival times of a recorded trace."""


@dataclass(frozen=True)
class BurstWindow:
    """A window with ``factor`` times the rate; start and duration are fractions of the whole duration."""

    start_fraction: float
    duration_fraction: float
    factor: float


@dataclass(frozen=True)
class ArrivalShape:
    """Parameters of a process besides its rate: factor, period in seconds, recorded trace."""

    factor: float = 4.0
    period_s: float = 10.0
    trace: tuple[float, ...] = ()
    """Arrival times in ascending seconds from the start."""


DEFAULT_SHAPE = ArrivalShape()


@dataclass(frozen=True)
class Arrivals:
    """An arrival process with its rate, duration in seconds, burst and shape."""

    process: ArrivalProcess
    rate_per_s: float
    """Base rate: outside the burst, and in the lower part of a step, spike or square wave. A replay ignores it."""
    duration_s: float
    burst: BurstWindow | None = None
    shape: ArrivalShape = DEFAULT_SHAPE


@dataclass(frozen=True)
class RateSegment:
    """An interval of constant intensity, in seconds from the start."""

    start_s: float
    end_s: float
    rate_per_s: float

    @property
    def expected_arrivals(self) -> float:
        """Expected number of arrivals in the segment."""
        return (self.end_s - self.start_s) * self.rate_per_s


def even_arrivals(_: random.Random) -> Iterator[float]:
    """Yield arrivals at equal distances and unit rate, without end."""
    return map(float, count())


def poisson_arrivals(rng: random.Random) -> Iterator[float]:
    """Yield arrivals of a Poisson process at unit rate, without end."""
    now = 0.0
    while True:
        now += rng.expovariate(1.0)
        yield now


UNIT_ARRIVALS: dict[ArrivalProcess, Callable[[random.Random], Iterator[float]]] = {
    ArrivalProcess.CONSTANT: even_arrivals,
    ArrivalProcess.POISSON: poisson_arrivals,
    ArrivalProcess.BURST: poisson_arrivals,
    ArrivalProcess.STEP: poisson_arrivals,
    ArrivalProcess.SPIKE: poisson_arrivals,
    ArrivalProcess.SQUARE: poisson_arrivals,
}


def constant_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Return one segment at the base rate."""
    return (RateSegment(0.0, arrivals.duration_s, arrivals.rate_per_s),)


def burst_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Return the segments of a constant rate with the burst, if there is one."""
    return constant_segments(arrivals) if arrivals.burst is None else raised_segments(arrivals, arrivals.burst)


def step_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Return the segments of a rate raised in the second half."""
    return raised_segments(
        arrivals, BurstWindow(start_fraction=0.5, duration_fraction=0.5, factor=arrivals.shape.factor)
    )


def spike_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Return the segments of a rate raised for a tenth of the duration in the middle."""
    return raised_segments(
        arrivals, BurstWindow(start_fraction=0.45, duration_fraction=0.1, factor=arrivals.shape.factor)
    )


def raised_segments(arrivals: Arrivals, burst: BurstWindow) -> tuple[RateSegment, ...]:
    """Return the segments before, in and after a window with a raised rate."""
    duration = arrivals.duration_s
    rate = arrivals.rate_per_s
    start_s = duration * burst.start_fraction
    end_s = min(duration, duration * (burst.start_fraction + burst.duration_fraction))
    return (
        RateSegment(0.0, start_s, rate),
        RateSegment(start_s, end_s, rate * burst.factor),
        RateSegment(end_s, duration, rate),
    )


def square_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Return the segments of a square wave that starts with the lower rate; the last segment ends with the duration."""
    half_s = arrivals.shape.period_s / 2
    rates = (arrivals.rate_per_s, arrivals.rate_per_s * arrivals.shape.factor)
    halves = range(math.ceil(arrivals.duration_s / half_s))
    return tuple(RateSegment(n * half_s, min((n + 1) * half_s, arrivals.duration_s), rates[n % 2]) for n in halves)


SEGMENTS: dict[ArrivalProcess, Callable[[Arrivals], tuple[RateSegment, ...]]] = {
    ArrivalProcess.CONSTANT: burst_segments,
    ArrivalProcess.POISSON: burst_segments,
    ArrivalProcess.BURST: burst_segments,
    ArrivalProcess.STEP: step_segments,
    ArrivalProcess.SPIKE: spike_segments,
    ArrivalProcess.SQUARE: square_segments,
}


def arrival_offsets(arrivals: Arrivals, seed: str) -> tuple[float, ...]:
    """Return arrival times in ascending seconds from the start, all below the duration. A seed fixes the times."""
    if arrivals.process is ArrivalProcess.REPLAY:
        return tuple(takewhile(lambda at_s: at_s < arrivals.duration_s, arrivals.shape.trace))
    segments = SEGMENTS[arrivals.process](arrivals)
    expected = sum(segment.expected_arrivals for segment in segments)
    unit_arrivals = UNIT_ARRIVALS[arrivals.process](random.Random(f"arrivals:{seed}"))
    return tuple(arrival_time_s(mass, segments) for mass in takewhile(lambda mass: mass < expected, unit_arrivals))


def arrival_time_s(mass: float, segments: tuple[RateSegment, ...]) -> float:
    """Return the time in seconds by which ``mass`` arrivals are expected: the inverse of the cumulated intensity."""
    for segment in segments:
        if mass < segment.expected_arrivals:
            return segment.start_s + mass / segment.rate_per_s
        mass -= segment.expected_arrivals
    return segments[-1].end_s
