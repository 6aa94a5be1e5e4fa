"""The loop beside booking's edge that looks at what waits."""

from collections.abc import Awaitable, Callable

from prebook.booking import metrics
from prebook.booking.load_shedding.shedder import FLOWS_UNTIL_SETTLED, build_load_shedder
from prebook.booking.store import BookingWork
from prebook.runtime.loops import run_every
from prebook.runtime.service import OutboundPorts, ServiceContext

SAMPLE_INTERVAL_S = 1.0


def build_sampler(context: ServiceContext[BookingWork], ports: OutboundPorts) -> Callable[[], Awaitable[None]]:
    """Looks at what waits, for ever. For how long the broker has taken nothing is known without a look."""
    control, begin = context.singleton(build_load_shedder), context.begin_background or context.begin
    control.watch_broker(ports.broker_blocked_s)

    async def sample() -> None:
        async with begin() as work:
            signals = await work.read_load_signals(FLOWS_UNTIL_SETTLED)
        control.update(signals)
        metrics.set_load_gauges(signals, control.loads)

    return lambda: run_every(SAMPLE_INTERVAL_S, sample)
