"""Rides and faults in step: each fault has its turn, and with it the rides that are to arrive until the next one.

A fault that takes longer than planned puts off the turns after it, rides and all. So every fault meets rides, however
slow the machine is. Within a turn rides arrive at their times, whatever becomes of those before: the loop stays open.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from prebook.lab.chaos.injector import Breaking
from prebook.lab.chaos.schedule import Planned, groups
from prebook.lab.load.generator import Generator, Order, Origin

PAUSE_S = 1.0
"""At least so long between one fault's end and the next turn."""


@dataclass(frozen=True)
class Turn:
    begins_s: float
    """From the start, if none before it is late."""
    faults: Sequence[Planned]
    orders: Sequence[Order]


def in_turns(plan: Sequence[Planned], orders: Sequence[Order]) -> tuple[Turn, ...]:
    """Every order is in one turn; the first turn begins at the start. ``orders`` are by their time."""
    found = groups(plan)
    begins = [0.0, *(group[0].at_s for group in found[1:])]
    cuts = [0, *(bisect_left(orders, at_s, key=lambda order: order.offer.at_s) for at_s in begins[1:]), len(orders)]
    return tuple(
        Turn(at_s, group, orders[first:last])
        for at_s, group, (first, last) in zip(begins, found, pairwise(cuts), strict=True)
    )


async def played(turns: Sequence[Turn], riders: Generator, breaking: Breaking, origin: Origin) -> None:
    """Returns when the last fault is over and the last request is answered or has timed out."""
    clock, behind_s = asyncio.get_running_loop().time, 0.0
    async with asyncio.TaskGroup() as offering:
        for turn in turns:
            await origin.later(behind_s).wait_until(turn.begins_s)
            await breaking.until_whole()
            behind_s = max(behind_s, clock() - origin.monotonic - turn.begins_s)
            now = origin.later(behind_s)
            offering.create_task(riders.offer(turn.orders, now))
            await now.wait_until(turn.faults[0].at_s)
            await breaking.inject(turn.faults, origin)
            await asyncio.sleep(PAUSE_S)
