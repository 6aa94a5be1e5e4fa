"""When rides arrive: seeded, decided before the run, and blind to how the suite is doing (an open model).

A process gives arrivals at unit rate; an intensity that changes over time stretches them to seconds. So a burst is
the same process in a narrower time, and a constant process can have one too.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, takewhile


class Process(StrEnum):
    CONSTANT = "constant"
    POISSON = "poisson"
    BURST = "burst"


@dataclass(frozen=True)
class Burst:
    """A window in which arrivals come ``factor`` times as often. Both times are fractions of the duration."""

    starts: float
    lasts: float
    factor: float


@dataclass(frozen=True)
class Arrivals:
    process: Process
    rate_per_s: float
    """Outside the burst."""
    duration_s: float
    burst: Burst | None = None


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
}


def stretches(arrivals: Arrivals) -> tuple[Stretch, ...]:
    duration, rate, burst = arrivals.duration_s, arrivals.rate_per_s, arrivals.burst
    if burst is None:
        return (Stretch(0.0, duration, rate),)
    begins, ends = duration * burst.starts, min(duration, duration * (burst.starts + burst.lasts))
    return (
        Stretch(0.0, begins, rate),
        Stretch(begins, ends, rate * burst.factor),
        Stretch(ends, duration, rate),
    )


def offsets(arrivals: Arrivals, seed: str) -> tuple[float, ...]:
    """Seconds from the start at which rides arrive, rising, all below the duration. The same seed, the same times."""
    parts = stretches(arrivals)
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
