"""Search for the capacity: the rate of settled rides that a suite sustains and that a higher offered rate cannot raise.

The offered rate rises level by level until the suite falls behind; the best rate is then offered for a longer time. For
some seconds a suite settles more than it sustains, because work after the settlement, mostly the notice to the rider,
is deferred.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from prebook.lab.burst.load_runner import LoadResult, LoadRunner
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals
from prebook.lab.report.model import LoadLevel

START_PER_S = 12.0
"""Rate of the first level, in rides per second."""
RATE_FACTOR = 1.5
"""Ratio of the rates of consecutive levels."""
MAX_LEVELS = 9
LEVEL_S = 8.0
"""Duration of a level."""
HOLD_S = 40.0
"""Duration of the final level."""
WARMUP_SHARE = 0.25
"""Share of a level's duration that is not counted."""
MIN_SETTLED_SHARE = 0.85
"""Settled share of the offered rate below which the suite has fallen behind: the level is above the knee."""


async def run_levels(runner: LoadRunner, log: Callable[[str], None]) -> tuple[LoadLevel, ...]:
    """Run levels of rising rate until the suite falls behind, then the best rate so far for HOLD_S seconds.

    ``log``: called with a line of text after every level.

    Raises:
        SuiteUnreachable: The services cannot be read after a level.
    """
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
    """Offer ``rate_per_s`` for ``duration_s`` seconds and return the level with its rate of settled rides.

    Raises:
        SuiteUnreachable: The services cannot be read after the level.
    """
    result = await runner.run_load(name, Arrivals(ArrivalProcess.CONSTANT, rate_per_s, duration_s))
    settled = settled_per_s(result, duration_s)
    refused = sum(sample.refused for sample in result.samples)
    offered = f"{rate_per_s:.0f} rides/s for {duration_s:g} s"
    log(f"capacity search: offered {offered}, settled {settled:.1f} rides/s, refused {refused} rides")
    return LoadLevel(offered_per_s=round(rate_per_s, 2), settled_per_s=round(settled, 2), duration_s=duration_s)


def settled_per_s(result: LoadResult, duration_s: float) -> float:
    """Return the rides settled per second after the warm-up of a level of ``duration_s`` seconds."""
    from_s = WARMUP_SHARE * duration_s
    settled = count_answered(result.reconciliation.accounts, result.origin.wall, from_s, duration_s)
    return settled / (duration_s - from_s)


def count_answered(accounts: Sequence[RideAccount], start: datetime, from_s: float, to_s: float) -> int:
    """Return the rides with a business outcome between ``from_s`` and ``to_s`` seconds after ``start``."""
    first = start + timedelta(seconds=from_s)
    last = start + timedelta(seconds=to_s)
    settled_at = [
        account.row.settled_at for account in accounts if account.answered and account.row and account.row.settled_at
    ]
    return sum(first <= moment < last for moment in settled_at)


def capacity(levels: Sequence[LoadLevel]) -> float:
    """Return the highest rate of settled rides among the levels of the longest duration."""
    longest = max(level.duration_s for level in levels)
    return max(level.settled_per_s for level in levels if level.duration_s == longest)
