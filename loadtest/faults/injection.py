"""Carrying a fault out: broken, proven, undone, within a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from loadtest.faults import connections, processes
from loadtest.faults.levers import Levers
from loadtest.faults.values import Fault, FaultKind, FaultWindow, window

BEYOND_S = 90.0
"""How much longer than the fault itself its injection may take: undoing it, and seeing that."""
Injection = Callable[[Fault, float, Levers], Awaitable[str]]
"""Returns the evidence; raises whatever kept the fault from taking effect."""

INJECTIONS: Mapping[FaultKind, Injection] = {
    FaultKind.KILL: processes.kill,
    FaultKind.PAUSE: processes.pause,
    FaultKind.BROWNOUT: processes.brownout,
    FaultKind.CONNECTIONS_CUT: connections.cut,
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
