"""The capacity: rides settled a second where offering more brings no more, for as long as you like.

Found by climbing a ladder of rates, and holding the best of it: for some seconds a suite settles more than it can keep
up, since what comes after the settlement, telling the rider above all, is put off meanwhile.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from prebook.lab.burst.load_runner import Ground, Offered
from prebook.lab.burst.model import Rung
from prebook.lab.ledger.accounts import Account
from prebook.lab.load.arrivals import Arrivals, Process

FIRST_PER_S, STEP, MOST_RUNGS = 12.0, 1.5, 9
LASTS_S, HELD_S, WARMED_UP = 8.0, 40.0, 0.25
"""Seconds, and the share of them after which a rung is counted."""
KEEPS_UP = 0.85
"""A suite that settles less than this share of what is offered does not keep up: the rung is above the knee."""


async def climbed(ground: Ground, tell: Callable[[str], None]) -> tuple[Rung, ...]:
    """Ends with the first rung that the suite does not keep up with, and one that is held at the best rate so far."""
    ladder: list[Rung] = []
    for number in range(MOST_RUNGS):
        rate = FIRST_PER_S * STEP**number
        ladder.append(await stood(ground, tell, f"rung{number}", rate, LASTS_S))
        if ladder[-1].settled_per_s < KEEPS_UP * rate:
            break
    ladder.append(await stood(ground, tell, "held", capacity(ladder), HELD_S))
    return tuple(ladder)


async def stood(ground: Ground, tell: Callable[[str], None], name: str, rate: float, lasts_s: float) -> Rung:
    offered = await ground.offer(name, Arrivals(Process.CONSTANT, rate, lasts_s))
    settled, refused = settled_per_s(offered, lasts_s), sum(sample.refused for sample in offered.samples)
    tell(f"capacity: {rate:.0f} rides/s for {lasts_s:g} s offered, {settled:.1f} settled, {refused} refused")
    return Rung(offered_per_s=round(rate, 2), settled_per_s=round(settled, 2), lasted_s=lasts_s)


def settled_per_s(offered: Offered, lasted_s: float) -> float:
    """Once it is warm."""
    from_s = WARMED_UP * lasted_s
    return answered_between(offered.books.accounts, offered.origin.wall, from_s, lasted_s) / (lasted_s - from_s)


def answered_between(accounts: Sequence[Account], start: datetime, begins_s: float, ends_s: float) -> int:
    """Rides that the business answered in this time."""
    first, last = start + timedelta(seconds=begins_s), start + timedelta(seconds=ends_s)
    ends = [each.row.settled_at for each in accounts if each.answered and each.row and each.row.settled_at]
    return sum(first <= moment < last for moment in ends)


def capacity(ladder: Sequence[Rung]) -> float:
    """What the best of the longest rungs settled a second."""
    longest = max(rung.lasted_s for rung in ladder)
    return max(rung.settled_per_s for rung in ladder if rung.lasted_s == longest)
