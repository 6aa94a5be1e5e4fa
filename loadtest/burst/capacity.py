"""The capacity: rides settled a second where offering more brings no more. Found by climbing a ladder of rates."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from loadtest.accounts import Account
from loadtest.burst.offering import Ground, Offered
from loadtest.burst.seconds import Rung
from loadtest.riders.arrivals import Arrivals, Process

FIRST_PER_S, STEP, MOST_RUNGS = 12.0, 1.5, 9
LASTS_S, WARMED_UP_S = 8.0, 2.0
KEEPS_UP = 0.85
"""A suite that settles less than this share of what is offered does not keep up: the rung is above the knee."""


async def climbed(ground: Ground, tell: Callable[[str], None]) -> tuple[Rung, ...]:
    """Ends with the first rung that the suite does not keep up with."""
    ladder: list[Rung] = []
    for number in range(MOST_RUNGS):
        rate = FIRST_PER_S * STEP**number
        offered = await ground.offer(f"rung{number}", Arrivals(Process.CONSTANT, rate, LASTS_S))
        ladder.append(Rung(offered_per_s=round(rate, 2), settled_per_s=round(settled_per_s(offered), 2)))
        refused = sum(sample.refused for sample in offered.samples)
        tell(f"capacity: {rate:.0f} rides/s offered, {ladder[-1].settled_per_s:.1f} settled, {refused} refused")
        if ladder[-1].settled_per_s < KEEPS_UP * rate:
            break
    return tuple(ladder)


def settled_per_s(offered: Offered) -> float:
    return answered_between(offered.books.accounts, offered.origin.wall, WARMED_UP_S, LASTS_S) / (LASTS_S - WARMED_UP_S)


def answered_between(accounts: Sequence[Account], start: datetime, begins_s: float, ends_s: float) -> int:
    """Rides that the business answered in this time."""
    first, last = start + timedelta(seconds=begins_s), start + timedelta(seconds=ends_s)
    ends = [each.row.settled_at for each in accounts if each.answered and each.row and each.row.settled_at]
    return sum(first <= moment < last for moment in ends)


def capacity(ladder: Sequence[Rung]) -> float:
    """What the best rung settled a second."""
    return max(rung.settled_per_s for rung in ladder)
