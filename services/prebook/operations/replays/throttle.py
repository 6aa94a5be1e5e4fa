"""Throttle of a replay: growing batches, or a rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

BATCH_SIZES = (1, 2, 5, 20, 50, 100)
"""A wrong fix shows with the first few messages; later batches are of MAX_IN_FLIGHT."""
MAX_IN_FLIGHT = 200
"""Redeliveries of one replay that may be in flight at a time."""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """Progress of a replay: batches sent, redeliveries in flight and dispatched in total, age in seconds."""

    batches: int
    in_flight: int
    sent: int
    running_s: float


def batch_size(number: int) -> int:
    """Return the size of the batch with this number, counted from 0."""
    return BATCH_SIZES[number] if number < len(BATCH_SIZES) else MAX_IN_FLIGHT


def due_count(progress: ReplayProgress, rate_per_s: float | None) -> int:
    """Return how many redeliveries may be dispatched now.

    Without a rate, a batch is due when the previous one is settled. With a rate, a replay that fell behind catches up
    by at most one second's worth of messages.
    """
    if rate_per_s is None:
        return 0 if progress.in_flight else batch_size(progress.batches)
    behind = int(progress.running_s * rate_per_s) + 1 - progress.sent
    return max(0, min(behind, max(1, int(rate_per_s)), MAX_IN_FLIGHT - progress.in_flight))


def batch_sizes(messages: int, rate_per_s: float | None) -> Iterator[int]:
    """Yield the sizes of the batches in which a replay would send ``messages``."""
    left = messages
    for number in count():
        if left <= 0:
            return
        size = min(left, batch_size(number) if rate_per_s is None else max(1, int(rate_per_s)))
        yield size
        left -= size
