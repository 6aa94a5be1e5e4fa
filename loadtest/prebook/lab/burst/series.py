"""What was seen over the seconds of a burst, and in how many of them. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import linear_regression

from prebook.lab.burst.model import SNAPSHOT_INTERVAL_S, SuiteSnapshot

RAMP_SHARE = 0.1
"""Share of the burst after which its slopes are taken: before it the first rides are on their way."""
FINAL_WINDOW_S = 5.0


def known_values(snapshots: Iterable[SuiteSnapshot], value_of: Callable[[SuiteSnapshot], float | None]) -> list[float]:
    return [value for second in snapshots if (value := value_of(second)) is not None]


def last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def slope(
    snapshots: Iterable[SuiteSnapshot], duration_s: float, value_of: Callable[[SuiteSnapshot], float | None]
) -> float | None:
    """Least squares over the steady part of the burst; None where that is less than three points."""
    points = [
        (s.at_s, value) for s in snapshots if s.at_s >= RAMP_SHARE * duration_s and (value := value_of(s)) is not None
    ]
    if len(points) < 3:  # noqa: PLR2004  two points make a line through themselves
        return None
    at, values = zip(*points, strict=True)
    return round(linear_regression(at, values).slope, 3)


def is_busy_at_end(snapshots: Sequence[SuiteSnapshot]) -> bool:
    """Whether something waited when it was last looked at, just before the end: what is older may be over."""
    lately = [second for second in snapshots if second.at_s >= snapshots[-1].at_s - FINAL_WINDOW_S]
    looks = (
        known_values(lately, of) for of in (lambda s: s.outbox_rows, lambda s: s.pending_requests, lambda s: s.queued)
    )
    return any(last(seen) for seen in looks)


def covered_seconds(
    moments: Iterable[float], duration_s: float, every_s: float = SNAPSHOT_INTERVAL_S
) -> frozenset[int]:
    """The whole seconds of the burst, from 0, that looks at these moments count for: each until the next is due."""
    looks = map(math.floor, moments)
    covered = {look + number for look in looks for number in range(round(every_s / SNAPSHOT_INTERVAL_S))}
    return frozenset(covered.intersection(range(math.ceil(duration_s))))


def coverage(seen: frozenset[int], duration_s: float) -> float:
    return round(len(seen) / math.ceil(duration_s), 3)
