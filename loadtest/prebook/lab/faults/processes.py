"""Faults of one process, carried out by its supervisor and seen from outside over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError

POLL_INTERVAL_S = 0.1
RESTART_TIMEOUT_S = 30.0
"""How long after its down time a process that was ended may take to be seen again."""
RESUME_MARGIN_S = 0.3
"""The probe that waited while its target stood still is answered within this time, and is counted."""
STOPPED_S = 0.4
RUNNING_S = 0.1
"""A brownout stops the process for STOPPED_S and lets it run for RUNNING_S, in turns."""


async def kill(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Over when the supervisor shows the process under a new id."""
    control = fault_access.supervisor(fault.target)
    async with fault_access.http_probe(fault.target).run() as seen:
        before = await control.read_pid(fault.target)
        await control.send_command(f"/processes/{fault.target}/kill", {"down_s": duration_s})
        after = await wait_for_new_pid(control, fault.target, before, duration_s + RESTART_TIMEOUT_S)
    if not seen.failures:
        raise NoEffect(f"{fault.target} answered all {seen.count} probes while it should have been down")
    return f"pid {before} killed, pid {after} in its place; {seen.failures} of {seen.count} probes failed meanwhile"


async def wait_for_new_pid(control: SupervisorClient, target: str, before: int | None, timeout_s: float) -> int:
    """Raises NoEffect where ``target`` does not run as another process within ``timeout_s``."""

    async def read_new_pid() -> int | None:
        now = await control.read_pid(target)
        return None if now == before else now

    try:
        return await poll_until(read_new_pid, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        raise NoEffect(f"{target} still has pid {before}, or none, {timeout_s:.0f} s after its end") from None


async def pause(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """SIGSTOP: its connections stay open, and nobody answers on them."""
    async with fault_access.http_probe(fault.target).run() as seen:
        async with suspend(fault_access.supervisor(fault.target), fault.target):
            await asyncio.sleep(duration_s)
        await asyncio.sleep(RESUME_MARGIN_S)
    if not seen.failures and seen.slowest_s < duration_s / 2:
        raise NoEffect(f"{fault.target} answered every probe within {seen.slowest_s * 1e3:.0f} ms")
    return f"slowest of {seen.count} probes {seen.slowest_s * 1e3:.0f} ms, {seen.failures} failed"


@asynccontextmanager
async def suspend(control: SupervisorClient, target: str) -> AsyncIterator[None]:
    """The process stands still while the block runs."""
    await control.send_command(f"/processes/{target}/pause", {})
    try:
        yield
    finally:
        # Who was killed while it was stopped has nothing to resume.
        with contextlib.suppress(SupervisorError):
            await control.send_command(f"/processes/{target}/resume", {})


async def brown_out(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Over when its time is. The supervisor undoes it by itself."""
    turns = {"duration_s": duration_s, "stopped_s": STOPPED_S, "running_s": RUNNING_S}
    async with fault_access.http_probe(fault.target).run() as seen:
        await fault_access.supervisor(fault.target).send_command(f"/processes/{fault.target}/brownout", turns)
        await asyncio.sleep(duration_s)
    if not seen.failures and seen.slowest_s < STOPPED_S / 2:
        raise NoEffect(f"{fault.target} answered every probe within {seen.slowest_s * 1e3:.0f} ms")
    return f"slowest of {seen.count} probes {seen.slowest_s * 1e3:.0f} ms, {seen.failures} failed"
