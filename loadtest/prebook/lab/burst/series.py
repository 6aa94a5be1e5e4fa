"""Statistics over the snapshots of a burst: slopes, last values and coverage. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import linear_regression

from prebook.lab.burst.model import SNAPSHOT_INTERVAL_S, SuiteSnapshot

RAMP_SHARE = 0.1
"""Share of the burst that slopes ignore: until then the first rides are still in progress."""
FINAL_WINDOW_S = 5.0
"""Time before the last snapshot in which a value counts as the state at the end."""


def known_values(snapshots: Iterable[SuiteSnapshot], value_of: Callable[[SuiteSnapshot], float | None]) -> list[float]:
    """Return the values of the snapshots in which ``value_of`` is known."""
    return [value for snapshot in snapshots if (value := value_of(snapshot)) is not None]


def find_last(values: Sequence[float]) -> float | None:
    """Return the last value, or None if there is none."""
    return values[-1] if values else None


def fit_slope(
    snapshots: Iterable[SuiteSnapshot], duration_s: float, value_of: Callable[[SuiteSnapshot], float | None]
) -> float | None:
    """Return the least-squares slope per second over the burst after its ramp; None with fewer than three points."""
    points = [
        (snapshot.at_s, value)
        for snapshot in snapshots
        if snapshot.at_s >= RAMP_SHARE * duration_s and (value := value_of(snapshot)) is not None
    ]
    if len(points) < 3:  # noqa: PLR2004  a line through two points fits without error
        return None
    times, values = zip(*points, strict=True)
    return round(linear_regression(times, values).slope, 3)


def is_busy_at_end(snapshots: Sequence[SuiteSnapshot]) -> bool:
    """Return whether the last known outbox, pending requests or queues were not empty.

    Snapshots older than FINAL_WINDOW_S before the last one are ignored: their backlog may have been processed since.
    """
    recent = [snapshot for snapshot in snapshots if snapshot.at_s >= snapshots[-1].at_s - FINAL_WINDOW_S]
    backlogs = (
        known_values(recent, lambda snapshot: snapshot.outbox_rows),
        known_values(recent, lambda snapshot: snapshot.pending_requests),
        known_values(recent, lambda snapshot: snapshot.queued),
    )
    return any(find_last(counts) for counts in backlogs)


def covered_seconds(
    moments: Iterable[float], duration_s: float, interval_s: float = SNAPSHOT_INTERVAL_S
) -> frozenset[int]:
    """Return the whole seconds of the burst that readings at ``moments`` cover.

    A reading covers the seconds until the next one is due, ``interval_s`` later. Seconds count from 0.
    """
    first_seconds = map(math.floor, moments)
    per_reading = range(round(interval_s / SNAPSHOT_INTERVAL_S))
    covered = {first + offset for first in first_seconds for offset in per_reading}
    return frozenset(covered.intersection(range(math.ceil(duration_s))))


def coverage(covered: frozenset[int], duration_s: float) -> float:
    """Return the share of the burst's seconds that are in ``covered``."""
    return round(len(covered) / math.ceil(duration_s), 3)
