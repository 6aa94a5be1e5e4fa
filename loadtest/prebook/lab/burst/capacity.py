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

START_PER_S = 12.0
RATE_FACTOR = 1.5
MAX_LEVELS = 9
LEVEL_S = 8.0
HOLD_S = 40.0
WARMUP_SHARE = 0.25
"""Seconds, and the share of them after which a level is counted."""
MIN_SETTLED_SHARE = 0.85
"""A suite that settles less than this share of what is offered does not keep up: the level is above the knee."""


async def run_levels(runner: LoadRunner, log: Callable[[str], None]) -> tuple[LoadLevel, ...]:
    """Ends with the first level that the suite does not keep up with, and one that is held at the best rate so far."""
    levels: list[LoadLevel] = []
    for number in range(MAX_LEVELS):
        rate = START_PER_S * RATE_FACTOR**number
        levels.append(await run_level(runner, log, f"level{number}", rate, LEVEL_S))
        if levels[-1].settled_per_s < MIN_SETTLED_SHARE * rate:
            break
    levels.append(await run_level(runner, log, "hold", capacity(levels), HOLD_S))
    return tuple(levels)


async def run_level(
    runner: LoadRunner, log: Callable[[str], None], name: str, rate_per_s: float, duration_s: float
) -> LoadLevel:
    result = await runner.run_load(name, Arrivals(ArrivalProcess.CONSTANT, rate_per_s, duration_s))
    settled = settled_per_s(result, duration_s)
    refused = sum(sample.refused for sample in result.samples)
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
    first = start + timedelta(seconds=from_s)
    last = start + timedelta(seconds=to_s)
    ends = [each.row.settled_at for each in accounts if each.answered and each.row and each.row.settled_at]
    return sum(first <= moment < last for moment in ends)


def capacity(levels: Sequence[LoadLevel]) -> float:
    """What the best of the longest levels settled a second."""
    longest = max(level.duration_s for level in levels)
    return max(level.settled_per_s for level in levels if level.duration_s == longest)
