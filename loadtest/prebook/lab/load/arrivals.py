"""When rides arrive: seeded, decided before the run, and blind to how the suite is doing (an open model).

A process gives arrivals at unit rate; an intensity that changes over time stretches them to seconds. So a burst is
the same process in a narrower time, and a constant process can have one too.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, takewhile


class ArrivalProcess(StrEnum):
    CONSTANT = "constant"
    POISSON = "poisson"
    BURST = "burst"
    STEP = "step"
    """From the middle on ``factor`` times the rate."""
    SPIKE = "spike"
    """``factor`` times the rate for a tenth of the time, in the middle."""
    SQUARE = "square"
    """The rate and ``factor`` times the rate in turn, each for half a period."""
    REPLAY = "replay"
    """When others arrived once: a recorded trace, as it was."""


@dataclass(frozen=True)
class BurstWindow:
    """A window in which arrivals come ``factor`` times as often. Both times are fractions of the duration."""

    start_fraction: float
    duration_fraction: float
    factor: float


@dataclass(frozen=True)
class ArrivalShape:
    """What a process needs beside its rate."""

    factor: float = 4.0
    period_s: float = 10.0
    trace: tuple[float, ...] = ()
    """Seconds from the start, rising."""


DEFAULT_SHAPE = ArrivalShape()


@dataclass(frozen=True)
class Arrivals:
    process: ArrivalProcess
    rate_per_s: float
    """Outside the burst, and of the lower part of a step, spike or square wave. A replay has its own."""
    duration_s: float
    burst: BurstWindow | None = None
    shape: ArrivalShape = DEFAULT_SHAPE


@dataclass(frozen=True)
class RateSegment:
    """A time of even intensity, in seconds from the start."""

    start_s: float
    end_s: float
    rate_per_s: float

    @property
    def expected_arrivals(self) -> float:
        """Arrivals expected in it."""
        return (self.end_s - self.start_s) * self.rate_per_s


def even_arrivals(_: random.Random) -> Iterator[float]:
    return map(float, count())


def poisson_arrivals(rng: random.Random) -> Iterator[float]:
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
    return (RateSegment(0.0, arrivals.duration_s, arrivals.rate_per_s),)


def burst_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    return constant_segments(arrivals) if arrivals.burst is None else raised_segments(arrivals, arrivals.burst)


def step_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    return raised_segments(
        arrivals, BurstWindow(start_fraction=0.5, duration_fraction=0.5, factor=arrivals.shape.factor)
    )


def spike_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    return raised_segments(
        arrivals, BurstWindow(start_fraction=0.45, duration_fraction=0.1, factor=arrivals.shape.factor)
    )


def raised_segments(arrivals: Arrivals, burst: BurstWindow) -> tuple[RateSegment, ...]:
    duration = arrivals.duration_s
    rate = arrivals.rate_per_s
    begins = duration * burst.start_fraction
    ends = min(duration, duration * (burst.start_fraction + burst.duration_fraction))
    return (
        RateSegment(0.0, begins, rate),
        RateSegment(begins, ends, rate * burst.factor),
        RateSegment(ends, duration, rate),
    )


def square_segments(arrivals: Arrivals) -> tuple[RateSegment, ...]:
    """Begins with the lower half; the last stretch is cut where the time is over."""
    half = arrivals.shape.period_s / 2
    rates = (arrivals.rate_per_s, arrivals.rate_per_s * arrivals.shape.factor)
    turns = range(math.ceil(arrivals.duration_s / half))
    return tuple(RateSegment(n * half, min((n + 1) * half, arrivals.duration_s), rates[n % 2]) for n in turns)


SEGMENTS: dict[ArrivalProcess, Callable[[Arrivals], tuple[RateSegment, ...]]] = {
    ArrivalProcess.CONSTANT: burst_segments,
    ArrivalProcess.POISSON: burst_segments,
    ArrivalProcess.BURST: burst_segments,
    ArrivalProcess.STEP: step_segments,
    ArrivalProcess.SPIKE: spike_segments,
    ArrivalProcess.SQUARE: square_segments,
}


def arrival_offsets(arrivals: Arrivals, seed: str) -> tuple[float, ...]:
    """Seconds from the start at which rides arrive, rising, all below the duration. The same seed, the same times."""
    if arrivals.process is ArrivalProcess.REPLAY:
        return tuple(takewhile(lambda at: at < arrivals.duration_s, arrivals.shape.trace))
    parts = SEGMENTS[arrivals.process](arrivals)
    expected = sum(part.expected_arrivals for part in parts)
    unit = UNIT_ARRIVALS[arrivals.process](random.Random(f"arrivals:{seed}"))
    return tuple(arrival_time_s(mass, parts) for mass in takewhile(lambda mass: mass < expected, unit))


def arrival_time_s(mass: float, segments: tuple[RateSegment, ...]) -> float:
    """The moment by which ``mass`` arrivals are expected: the inverse of the cumulated intensity."""
    for part in segments:
        if mass < part.expected_arrivals:
            return part.start_s + mass / part.rate_per_s
        mass -= part.expected_arrivals
    return segments[-1].end_s
