"""The capacity: rides settled a second where offering more brings no more, for as long as you like.

Found by climbing a ladder of rates, and holding the best of it: for some seconds a suite settles more than it can keep
up, since what comes after the settlement, telling the rider above all, is put off meanwhile.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from prebook.lab.burst.load_runner import LoadResult, LoadRunner
from prebook.lab.burst.model import LoadLevel
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals

START_PER_S, RATE_FACTOR, MAX_LEVELS = 12.0, 1.5, 9
LEVEL_S, HOLD_S, WARMUP_SHARE = 8.0, 40.0, 0.25
"""Seconds, and the share of them after which a rung is counted."""
MIN_SETTLED_SHARE = 0.85
"""A suite that settles less than this share of what is offered does not keep up: the rung is above the knee."""


async def run_levels(runner: LoadRunner, log: Callable[[str], None]) -> tuple[LoadLevel, ...]:
    """Ends with the first rung that the suite does not keep up with, and one that is held at the best rate so far."""
    ladder: list[LoadLevel] = []
    for number in range(MAX_LEVELS):
        rate = START_PER_S * RATE_FACTOR**number
        ladder.append(await run_level(runner, log, f"rung{number}", rate, LEVEL_S))
        if ladder[-1].settled_per_s < MIN_SETTLED_SHARE * rate:
            break
    ladder.append(await run_level(runner, log, "held", capacity(ladder), HOLD_S))
    return tuple(ladder)


async def run_level(
    runner: LoadRunner, log: Callable[[str], None], name: str, rate_per_s: float, duration_s: float
) -> LoadLevel:
    offered = await runner.run_load(name, Arrivals(ArrivalProcess.CONSTANT, rate_per_s, duration_s))
    settled, refused = settled_per_s(offered, duration_s), sum(sample.refused for sample in offered.samples)
    log(f"capacity: {rate_per_s:.0f} rides/s for {duration_s:g} s offered, {settled:.1f} settled, {refused} refused")
    return LoadLevel(offered_per_s=round(rate_per_s, 2), settled_per_s=round(settled, 2), duration_s=duration_s)


def settled_per_s(result: LoadResult, duration_s: float) -> float:
    """Once it is warm."""
    from_s = WARMUP_SHARE * duration_s
    return count_answered(result.reconciliation.accounts, result.origin.wall, from_s, duration_s) / (
        duration_s - from_s
    )


def count_answered(accounts: Sequence[RideAccount], start: datetime, from_s: float, to_s: float) -> int:
    """Rides that the business answered in this time."""
    first, last = start + timedelta(seconds=from_s), start + timedelta(seconds=to_s)
    ends = [each.row.settled_at for each in accounts if each.answered and each.row and each.row.settled_at]
    return sum(first <= moment < last for moment in ends)


def capacity(levels: Sequence[LoadLevel]) -> float:
    """What the best of the longest rungs settled a second."""
    longest = max(rung.duration_s for rung in levels)
    return max(rung.settled_per_s for rung in levels if rung.duration_s == longest)
