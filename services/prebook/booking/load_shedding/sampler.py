"""The loop beside booking's edge that looks at what waits."""

from collections.abc import Awaitable, Callable

from prebook.booking import metrics
from prebook.booking.load_shedding.shedder import FLOWS_TO_OUTCOME, admitting
from prebook.booking.store import BookingWork
from prebook.runtime.loops import every
from prebook.runtime.service import Outside, Running

SAMPLE_EVERY_S = 1.0


def sampling(running: Running[BookingWork], outside: Outside) -> Callable[[], Awaitable[None]]:
    """Looks at what waits, for ever. For how long the broker has taken nothing is known without a look."""
    control, begin = running.one(admitting), running.aside or running.begin
    control.heed(outside.blocked_s)

    async def sample() -> None:
        async with begin() as work:
            signals = await work.signals(FLOWS_TO_OUTCOME)
        control.sampled(signals)
        metrics.seen(signals, control.loads)

    return lambda: every(SAMPLE_EVERY_S, sample)
