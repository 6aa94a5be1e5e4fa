"""Rides and faults in step: each fault has its turn, and with it the rides that are to arrive until the next one.

A fault that takes longer than planned puts off the turns after it, rides and all. So every fault meets rides, however
slow the machine is. Within a turn rides arrive at their times, whatever becomes of those before: the loop stays open.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from prebook.lab.chaos.injector import FaultInjector
from prebook.lab.chaos.schedule import ScheduledFault, overlap_groups
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest

PAUSE_S = 1.0
"""At least so long between one fault's end and the next turn."""


@dataclass(frozen=True)
class ChaosPhase:
    starts_s: float
    """From the start, if none before it is late."""
    faults: Sequence[ScheduledFault]
    requests: Sequence[PreparedRequest]


def split_into_phases(
    schedule: Sequence[ScheduledFault], requests: Sequence[PreparedRequest]
) -> tuple[ChaosPhase, ...]:
    """Every request is in one phase; the first phase begins at the start. ``requests`` are by their time."""
    found = overlap_groups(schedule)
    begins = [0.0, *(group[0].at_s for group in found[1:])]
    cuts = [
        0,
        *(bisect_left(requests, at_s, key=lambda order: order.planned.at_s) for at_s in begins[1:]),
        len(requests),
    ]
    return tuple(
        ChaosPhase(at_s, group, requests[first:last])
        for at_s, group, (first, last) in zip(begins, found, pairwise(cuts), strict=True)
    )


async def run_phases(
    phases: Sequence[ChaosPhase], generator: Generator, injector: FaultInjector, origin: ClockOrigin
) -> None:
    """Returns when the last fault is over and the last request is answered or has timed out."""
    clock = asyncio.get_running_loop().time
    behind_s = 0.0
    async with asyncio.TaskGroup() as offering:
        for turn in phases:
            await origin.shifted(behind_s).wait_until(turn.starts_s)
            await injector.wait_until_ready()
            behind_s = max(behind_s, clock() - origin.monotonic - turn.starts_s)
            now = origin.shifted(behind_s)
            offering.create_task(generator.offer(turn.requests, now))
            await now.wait_until(turn.faults[0].at_s)
            await injector.inject_group(turn.faults, origin)
            await asyncio.sleep(PAUSE_S)
