"""Phases of a chaos run: one group of overlapping faults each, with the requests due until the next group.

A fault that takes longer than scheduled delays the following phases together with their requests. Every fault therefore
meets load, however slow the machine is. Within a phase requests are sent at their times (an open loop).
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
"""Minimum time between the end of a fault and the next phase."""


@dataclass(frozen=True)
class ChaosPhase:
    """A group of overlapping faults, and the requests that are sent until the next group."""

    starts_s: float
    """Seconds from the start of the arrivals, if no earlier phase is late."""
    faults: Sequence[ScheduledFault]
    requests: Sequence[PreparedRequest]


def split_into_phases(
    schedule: Sequence[ScheduledFault], requests: Sequence[PreparedRequest]
) -> tuple[ChaosPhase, ...]:
    """Assign each of ``requests``, sorted by time, to the phase in which it is due; the first phase starts at 0 s."""
    groups = overlap_groups(schedule)
    starts = [0.0, *(group[0].at_s for group in groups[1:])]
    cuts = [
        0,
        *(bisect_left(requests, at_s, key=lambda request: request.planned.at_s) for at_s in starts[1:]),
        len(requests),
    ]
    return tuple(
        ChaosPhase(at_s, group, requests[first:last])
        for at_s, group, (first, last) in zip(starts, groups, pairwise(cuts), strict=True)
    )


async def run_phases(
    phases: Sequence[ChaosPhase], generator: Generator, injector: FaultInjector, origin: ClockOrigin
) -> None:
    """Send the requests and inject the faults of all phases.

    Return when the last fault has ended and the last request has its response or has timed out.
    """
    clock = asyncio.get_running_loop().time
    delay_s = 0.0
    async with asyncio.TaskGroup() as load:
        for phase in phases:
            await origin.shifted(delay_s).wait_until(phase.starts_s)
            await injector.wait_until_ready()
            delay_s = max(delay_s, clock() - origin.monotonic - phase.starts_s)
            delayed_origin = origin.shifted(delay_s)
            load.create_task(generator.offer(phase.requests, delayed_origin))
            await delayed_origin.wait_until(phase.faults[0].at_s)
            await injector.inject_group(phase.faults, origin)
            await asyncio.sleep(PAUSE_S)
