"""What was seen over the seconds of a burst, and in how many of them. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import linear_regression

from prebook.lab.burst.model import EVERY_S, Second

STEADY_FROM = 0.1
"""Share of the burst after which its slopes are taken: before it the first rides are on their way."""
LATELY_S = 5.0


def known(seconds: Iterable[Second], of: Callable[[Second], float | None]) -> list[float]:
    return [value for second in seconds if (value := of(second)) is not None]


def last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def slope(seconds: Iterable[Second], duration_s: float, of: Callable[[Second], float | None]) -> float | None:
    """Least squares over the steady part of the burst; None where that is less than three points."""
    points = [(s.at_s, value) for s in seconds if s.at_s >= STEADY_FROM * duration_s and (value := of(s)) is not None]
    if len(points) < 3:  # noqa: PLR2004  two points make a line through themselves
        return None
    at, values = zip(*points, strict=True)
    return round(linear_regression(at, values).slope, 3)


def still_waits(seconds: Sequence[Second]) -> bool:
    """Whether something waited when it was last looked at, just before the end: what is older may be over."""
    lately = [second for second in seconds if second.at_s >= seconds[-1].at_s - LATELY_S]
    looks = (known(lately, of) for of in (lambda s: s.outbox_rows, lambda s: s.unanswered, lambda s: s.queued))
    return any(last(seen) for seen in looks)


def seen_in(moments: Iterable[float], duration_s: float, every_s: float = EVERY_S) -> frozenset[int]:
    """The whole seconds of the burst, from 0, that looks at these moments count for: each until the next is due."""
    looks = map(math.floor, moments)
    covered = {look + number for look in looks for number in range(round(every_s / EVERY_S))}
    return frozenset(covered.intersection(range(math.ceil(duration_s))))


def share(seen: frozenset[int], duration_s: float) -> float:
    return round(len(seen) / math.ceil(duration_s), 3)
