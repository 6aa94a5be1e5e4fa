"""How many messages of a replay may leave now: in growing batches, or at a rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

BATCH_SIZES = (1, 2, 5, 20, 50, 100)
MAX_IN_FLIGHT = 200
"""Messages in flight at a time, however many are to be sent."""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    batches: int
    """Sent so far."""
    in_flight: int
    sent: int
    """Messages, those in flight included."""
    running_s: float


def batch_size(number: int) -> int:
    """Size of the batch with this number, counted from 0."""
    return BATCH_SIZES[number] if number < len(BATCH_SIZES) else MAX_IN_FLIGHT


def due_count(progress: ReplayProgress, rate_per_s: float | None) -> int:
    """A batch leaves when all of the one before is settled. A rate does not catch up on more than a second's worth."""
    if rate_per_s is None:
        return 0 if progress.in_flight else batch_size(progress.batches)
    behind = int(progress.running_s * rate_per_s) + 1 - progress.sent
    return max(0, min(behind, max(1, int(rate_per_s)), MAX_IN_FLIGHT - progress.in_flight))


def batch_sizes(messages: int, rate_per_s: float | None) -> Iterator[int]:
    """What a replay of so many would send, batch by batch."""
    left = messages
    for number in count():
        if left <= 0:
            return
        size = min(left, batch_size(number) if rate_per_s is None else max(1, int(rate_per_s)))
        yield size
        left -= size
