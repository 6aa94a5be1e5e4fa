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
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, FaultKind, FaultWindow, close_window

UNDO_TIMEOUT_S = 90.0
"""How much longer than the fault itself its injection may take: undoing it, and seeing that."""
Injection = Callable[[Fault, float, FaultAccess], Awaitable[str]]
"""Returns the evidence; raises whatever kept the fault from taking effect."""

INJECTIONS: Mapping[FaultKind, Injection] = {
    FaultKind.KILL: processes.kill,
    FaultKind.PAUSE: processes.pause,
    FaultKind.BROWNOUT: processes.brown_out,
    FaultKind.CLOCK_SKEW: clock_skew.skew_clock,
    FaultKind.CONNECTIONS_CUT: connections.close_connections,
    FaultKind.RESTART: servers.restart_injection("stop"),
    FaultKind.SERVER_KILL: servers.restart_injection("kill"),
    FaultKind.LEADER_LOST: cluster.kill_leader,
    FaultKind.MEMORY_ALARM: memory_alarm.raise_memory_alarm,
    FaultKind.QUEUE_FULL: queue_full.fill_queues,
    FaultKind.DUPLICATE_EVERYTHING: duplication.duplicate_everything,
    FaultKind.POISON: poison.publish_poison,
    FaultKind.LINK_SLOW: links.link_injection("slow", links.is_slow),
    FaultKind.LINK_CUT: links.link_injection("cut", links.has_failures),
    FaultKind.LINK_BLACK_HOLE: links.link_injection("black_hole", links.has_failures),
    FaultKind.LINK_RESPONSE_LOSS: links.link_injection("response_loss", links.has_failures),
}


async def inject(fault: Fault, duration_s: float, fault_access: FaultAccess) -> FaultWindow:
    """Breaks the target for ``for_s`` seconds and returns when it is over and undone.

    Never raises for a fault that failed: then the window says that it took no effect, and why.
    """
    started_at = datetime.now(UTC)
    try:
        async with asyncio.timeout(duration_s + UNDO_TIMEOUT_S):
            evidence = await INJECTIONS[fault.kind](fault, duration_s, fault_access)
    except Exception as failed:  # noqa: BLE001 - whatever went wrong is the evidence; a fault must not end a campaign
        return close_window(started_at, took_effect=False, evidence=str(failed) or type(failed).__name__)
    return close_window(started_at, took_effect=True, evidence=evidence)
