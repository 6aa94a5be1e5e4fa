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


class Process(StrEnum):
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
class Burst:
    """A window in which arrivals come ``factor`` times as often. Both times are fractions of the duration."""

    starts: float
    lasts: float
    factor: float


@dataclass(frozen=True)
class Shape:
    """What a process needs beside its rate."""

    factor: float = 4.0
    period_s: float = 10.0
    trace: tuple[float, ...] = ()
    """Seconds from the start, rising."""


PLAIN = Shape()


@dataclass(frozen=True)
class Arrivals:
    process: Process
    rate_per_s: float
    """Outside the burst, and of the lower part of a step, spike or square wave. A replay has its own."""
    duration_s: float
    burst: Burst | None = None
    shape: Shape = PLAIN


@dataclass(frozen=True)
class Stretch:
    """A time of even intensity, in seconds from the start."""

    begins: float
    ends: float
    rate_per_s: float

    @property
    def mass(self) -> float:
        """Arrivals expected in it."""
        return (self.ends - self.begins) * self.rate_per_s


def evenly(_: random.Random) -> Iterator[float]:
    return map(float, count())


def at_random(rng: random.Random) -> Iterator[float]:
    now = 0.0
    while True:
        now += rng.expovariate(1.0)
        yield now


UNIT_ARRIVALS: dict[Process, Callable[[random.Random], Iterator[float]]] = {
    Process.CONSTANT: evenly,
    Process.POISSON: at_random,
    Process.BURST: at_random,
    Process.STEP: at_random,
    Process.SPIKE: at_random,
    Process.SQUARE: at_random,
}


def even(arrivals: Arrivals) -> tuple[Stretch, ...]:
    return (Stretch(0.0, arrivals.duration_s, arrivals.rate_per_s),)


def burst(arrivals: Arrivals) -> tuple[Stretch, ...]:
    return even(arrivals) if arrivals.burst is None else raised(arrivals, arrivals.burst)


def step(arrivals: Arrivals) -> tuple[Stretch, ...]:
    return raised(arrivals, Burst(starts=0.5, lasts=0.5, factor=arrivals.shape.factor))


def spike(arrivals: Arrivals) -> tuple[Stretch, ...]:
    return raised(arrivals, Burst(starts=0.45, lasts=0.1, factor=arrivals.shape.factor))


def raised(arrivals: Arrivals, burst: Burst) -> tuple[Stretch, ...]:
    duration, rate = arrivals.duration_s, arrivals.rate_per_s
    begins, ends = duration * burst.starts, min(duration, duration * (burst.starts + burst.lasts))
    return (
        Stretch(0.0, begins, rate),
        Stretch(begins, ends, rate * burst.factor),
        Stretch(ends, duration, rate),
    )


def square(arrivals: Arrivals) -> tuple[Stretch, ...]:
    """Begins with the lower half; the last stretch is cut where the time is over."""
    half, rates = arrivals.shape.period_s / 2, (arrivals.rate_per_s, arrivals.rate_per_s * arrivals.shape.factor)
    turns = range(math.ceil(arrivals.duration_s / half))
    return tuple(Stretch(n * half, min((n + 1) * half, arrivals.duration_s), rates[n % 2]) for n in turns)


INTENSITY: dict[Process, Callable[[Arrivals], tuple[Stretch, ...]]] = {
    Process.CONSTANT: burst,
    Process.POISSON: burst,
    Process.BURST: burst,
    Process.STEP: step,
    Process.SPIKE: spike,
    Process.SQUARE: square,
}


def offsets(arrivals: Arrivals, seed: str) -> tuple[float, ...]:
    """Seconds from the start at which rides arrive, rising, all below the duration. The same seed, the same times."""
    if arrivals.process is Process.REPLAY:
        return tuple(takewhile(lambda at: at < arrivals.duration_s, arrivals.shape.trace))
    parts = INTENSITY[arrivals.process](arrivals)
    expected = sum(part.mass for part in parts)
    unit = UNIT_ARRIVALS[arrivals.process](random.Random(f"arrivals:{seed}"))
    return tuple(in_seconds(mass, parts) for mass in takewhile(lambda mass: mass < expected, unit))


def in_seconds(mass: float, parts: tuple[Stretch, ...]) -> float:
    """The moment by which ``mass`` arrivals are expected: the inverse of the cumulated intensity."""
    for part in parts:
        if mass < part.mass:
            return part.begins + mass / part.rate_per_s
        mass -= part.mass
    return parts[-1].ends
