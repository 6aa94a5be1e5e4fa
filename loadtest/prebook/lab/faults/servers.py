"""Broker and database are ended and come back on the same data."""

import asyncio
from collections.abc import Awaitable, Callable

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.supervisor import ServerStatus, SupervisorClient

POLL_INTERVAL_S = 0.2
RESTART_TIMEOUT_S = 60.0


def restart_injection(shutdown: str) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """``how``: ``stop`` in order, or ``kill``. Over when the part runs again, as a process of its own."""

    async def end(fault: Fault, for_s: float, levers: FaultAccess) -> str:
        before, after = await restart_server(levers.supervisor(), fault.target, shutdown, for_s)
        return f"{fault.target}: pid {before.pid} ended ({shutdown}), pid {after.pid} in its place, on the same data"

    return end


async def restart_server(
    control: SupervisorClient, name: str, shutdown: str, duration_s: float
) -> tuple[ServerStatus, ServerStatus]:
    """Before and after. Raises NoEffect where no other process came in its place."""
    before = await control.read_server(name)
    await control.send_command(f"/servers/{name}/restart", {"shutdown": shutdown, "down_s": duration_s})
    return before, await wait_for_replacement(control, before, duration_s + RESTART_TIMEOUT_S)


async def wait_for_replacement(control: SupervisorClient, before: ServerStatus, timeout_s: float) -> ServerStatus:
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                now = await control.read_server(before.name)
                if now.is_running and (now.pid, now.restarts) != (before.pid, before.restarts):
                    return now
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise NoEffect(
            f"no other process of {before.name} came in the place of pid {before.pid} within {timeout_s:.0f} s"
        ) from None
