"""Capacity of a receiver, and the doubt about runs in which it was not reached."""

from collections.abc import Iterable

from prebook.lab.experiments.patterns.site import Effect, PatternSite, message_names
from prebook.messaging import addresses

OVERLOAD = 2.0
"""Messages offered, as a multiple of the capacity."""
WORK_MS = 60.0
"""Time that the receiver waits in the middle of a message: so long that processor time hardly counts."""
CAPACITY_MESSAGES = 25
MIN_CAPACITY = 0.9
"""Share of the rate that the work allows, below which other programs take the receiver's time."""
MAX_DRIFT = 0.2
"""Share by which the receiver's rate may differ from the capacity that was measured before."""


def rate_of(effects: Iterable[Effect]) -> float:
    """Return effects per second between the first and the last."""
    handled_at = sorted(effect.at for effect in effects)
    return (len(handled_at) - 1) / (handled_at[-1] - handled_at[0]).total_seconds()


def drift_doubt(capacity_per_s: float, rates_per_s: Iterable[float], max_drift: float = MAX_DRIFT) -> str:
    """Return why the runs cannot be compared: the receiver's rate was not its capacity; empty if it was."""
    drifted = [rate for rate in rates_per_s if abs(rate / capacity_per_s - 1) > max_drift]
    return f"the receiver handled {drifted[0]:.1f}/s instead of {capacity_per_s:.1f}/s" if drifted else ""


def busy_doubt(capacity_per_s: float) -> str:
    """Return why the machine is too busy to judge rates: a capacity far below what the work allows; else empty."""
    idle_per_s = 1_000 / WORK_MS
    if capacity_per_s >= MIN_CAPACITY * idle_per_s:
        return ""
    return f"the machine was too busy: a capacity of {capacity_per_s:.1f}/s, where the work allows {idle_per_s:.1f}/s"


async def measure_capacity(site: PatternSite, queue: str) -> float:
    """Return how many messages a receiver of ``queue`` handles per second while there is always one."""
    names = message_names(CAPACITY_MESSAGES)
    async with site.receivers(site.receiver_spec("capacity", queue, work_ms=WORK_MS)):
        await site.publish(addresses.REDELIVER, queue, names, "capacity")
        await site.wait_until_settled("capacity", names, queue)
    return rate_of(await site.read_effects("capacity"))
