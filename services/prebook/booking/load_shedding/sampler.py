"""Background loop that samples the queues that new bookings would join."""

from collections.abc import Awaitable, Callable

from prebook.booking import metrics
from prebook.booking.load_shedding.shedder import FLOWS_UNTIL_SETTLED, LoadShedder
from prebook.booking.store import BookingWork
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.runtime.loops import run_every
from prebook.runtime.settings import ServiceSettings

SAMPLE_INTERVAL_S = 1.0
SCAN_FACTOR = 2
"""Rows that a sample counts, as a multiple of the largest limit: several flows and couplings share them."""


def load_sampler(
    shedder: LoadShedder, begin: BeginUnitOfWork[BookingWork], settings: ServiceSettings
) -> Callable[[], Awaitable[None]]:
    """Background loop that samples the load once a second and updates the load shedder and the gauges."""
    max_rows = SCAN_FACTOR * max(settings.max_pending_requests, settings.max_outbox_rows)

    async def sample() -> None:
        async with begin() as work:
            signals = await work.read_load_signals(FLOWS_UNTIL_SETTLED, max_rows)
        shedder.update(signals)
        metrics.set_load_gauges(signals, shedder.loads)

    return lambda: run_every(SAMPLE_INTERVAL_S, sample)
