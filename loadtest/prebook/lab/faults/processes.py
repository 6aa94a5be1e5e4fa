"""Faults of one process (kill, pause, brownout): injected by its supervisor and observed over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prebook.devstack.supervisor.contract import ProcessInfo
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError

POLL_INTERVAL_S = 0.1
RESTART_TIMEOUT_S = 30.0
"""Seconds after the down time within which a killed process must run again."""
RESUME_MARGIN_S = 0.3
"""Seconds after a pause in which the waiting probe gets its response and is counted."""
STOPPED_S = 0.4
RUNNING_S = 0.1
"""A brownout alternates between STOPPED_S seconds stopped and RUNNING_S seconds running."""


async def kill(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Kill the process, keep it down for ``duration_s`` seconds, and wait until it runs with a new pid.

    Returns the evidence: both pids and the failed probes. Raises NoEffect if no probe failed.
    """
    control = fault_access.supervisor(fault.target)
    async with fault_access.http_probe(fault.target).run() as results:
        old_pid = await control.read_pid(fault.target)
        await control.send_command(f"/processes/{fault.target}/kill", {"down_s": duration_s})
        new_pid = await wait_for_new_pid(control, fault.target, old_pid, duration_s + RESTART_TIMEOUT_S)
    if not results.failures:
        raise NoEffect(f"{fault.target} responded to all {results.count} probes while it should have been down")
    return f"pid {old_pid} killed, replaced by pid {new_pid}; {results.failures} of {results.count} probes failed"


async def list_replicas(control: SupervisorClient, service: str) -> Sequence[ProcessInfo]:
    """Return the processes of ``service`` that the supervisor runs: ``pricing``, ``pricing-2`` and so on."""
    return [process for process in await control.list_processes() if process.name.partition("-")[0] == service]


async def wait_for_new_pid(control: SupervisorClient, target: str, before: int | None, timeout_s: float) -> int:
    """Return the pid of ``target`` once it differs from ``before``. Raises NoEffect after ``timeout_s`` seconds."""

    async def read_new_pid() -> int | None:
        pid = await control.read_pid(target)
        return None if pid == before else pid

    try:
        return await poll_until(read_new_pid, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        raise NoEffect(f"{target} has no new pid {timeout_s:.0f} s after it was ended; it had {before}") from None


async def pause(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Stop the process by SIGSTOP for ``duration_s`` seconds; its connections stay open without a response.

    Returns the evidence: the slowest probe. Raises NoEffect if all probes got a response in less than half that time.
    """
    async with fault_access.http_probe(fault.target).run() as results:
        async with suspend(fault_access.supervisor(fault.target), fault.target):
            await asyncio.sleep(duration_s)
        await asyncio.sleep(RESUME_MARGIN_S)
    if not results.failures and results.slowest_s < duration_s / 2:
        raise NoEffect(f"{fault.target} responded to every probe within {results.slowest_s * 1e3:.0f} ms")
    return f"slowest of {results.count} probes {results.slowest_s * 1e3:.0f} ms, {results.failures} failed"


@asynccontextmanager
async def suspend(control: SupervisorClient, target: str) -> AsyncIterator[None]:
    """Stop the process ``target`` by SIGSTOP while the block runs, and resume it afterwards."""
    await control.send_command(f"/processes/{target}/pause", {})
    try:
        yield
    finally:
        # A process that was killed while it was stopped cannot be resumed.
        with contextlib.suppress(SupervisorError):
            await control.send_command(f"/processes/{target}/resume", {})


async def brown_out(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Stop and resume the process in turns for ``duration_s`` seconds; the supervisor ends the fault by itself.

    Returns the evidence: the slowest probe. Raises NoEffect if all probes got a response in less than STOPPED_S / 2.
    """
    body = {"duration_s": duration_s, "stopped_s": STOPPED_S, "running_s": RUNNING_S}
    async with fault_access.http_probe(fault.target).run() as results:
        await fault_access.supervisor(fault.target).send_command(f"/processes/{fault.target}/brownout", body)
        await asyncio.sleep(duration_s)
    if not results.failures and results.slowest_s < STOPPED_S / 2:
        raise NoEffect(f"{fault.target} responded to every probe within {results.slowest_s * 1e3:.0f} ms")
    return f"slowest of {results.count} probes {results.slowest_s * 1e3:.0f} ms, {results.failures} failed"
