"""Carrying a fault out: broken, proven, undone, within a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from prebook.lab.faults import (
    clock_skew,
    cluster,
    connections,
    duplication,
    links,
    memory_alarm,
    poison,
    processes,
    queue_full,
    servers,
)
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, FaultKind, FaultWindow, window

BEYOND_S = 90.0
"""How much longer than the fault itself its injection may take: undoing it, and seeing that."""
Injection = Callable[[Fault, float, Levers], Awaitable[str]]
"""Returns the evidence; raises whatever kept the fault from taking effect."""

INJECTIONS: Mapping[FaultKind, Injection] = {
    FaultKind.KILL: processes.kill,
    FaultKind.PAUSE: processes.pause,
    FaultKind.BROWNOUT: processes.brownout,
    FaultKind.SKEW: clock_skew.clock_skew,
    FaultKind.CONNECTIONS_CUT: connections.cut,
    FaultKind.RESTART: servers.ended("stop"),
    FaultKind.PART_KILL: servers.ended("kill"),
    FaultKind.LEADER_LOST: cluster.leader_lost,
    FaultKind.MEMORY_ALARM: memory_alarm.memory_alarm,
    FaultKind.QUEUE_FULL: queue_full.queue_full,
    FaultKind.DUPLICATE: duplication.duplicate_everything,
    FaultKind.POISON: poison.poison,
    FaultKind.LINK_SLOW: links.disturbed("slow", links.late),
    FaultKind.LINK_CUT: links.disturbed("cut", links.unanswered),
    FaultKind.LINK_BLACK_HOLE: links.disturbed("black_hole", links.unanswered),
    FaultKind.LINK_HALF_OPEN: links.disturbed("half_open", links.unanswered),
}


async def inject(fault: Fault, for_s: float, levers: Levers) -> FaultWindow:
    """Breaks the target for ``for_s`` seconds and returns when it is over and undone.

    Never raises for a fault that failed: then the window says that it took no effect, and why.
    """
    started_at = datetime.now(UTC)
    try:
        async with asyncio.timeout(for_s + BEYOND_S):
            evidence = await INJECTIONS[fault.kind](fault, for_s, levers)
    except Exception as failed:  # noqa: BLE001 - whatever went wrong is the evidence; a fault must not end a campaign
        return window(started_at, took_effect=False, evidence=str(failed) or type(failed).__name__)
    return window(started_at, took_effect=True, evidence=evidence)
