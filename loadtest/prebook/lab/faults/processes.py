"""Faults of one process, carried out by its supervisor and seen from outside over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.supervisor import Control, ControlRefused

LOOK_EVERY_S = 0.1
RETURN_DEADLINE_S = 30.0
"""How long after its hold a process that was ended may take to be seen again."""
ANSWERED_AFTER_S = 0.3
"""The probe that waited while its target stood still is answered within this time, and is counted."""
STOPPED_S, RUNNING_S = 0.4, 0.1
"""A brownout stops the process and lets it run in turns of these lengths."""


async def kill(fault: Fault, for_s: float, levers: Levers) -> str:
    """Over when the supervisor shows the process under a new id."""
    control = levers.control(fault.target)
    async with levers.probe(fault.target).watching() as seen:
        before = await control.pid(fault.target)
        await control.order(f"/processes/{fault.target}/kill", {"hold_s": for_s})
        after = await new_pid(control, fault.target, before, for_s + RETURN_DEADLINE_S)
    if not seen.failures:
        raise NoEffect(f"{fault.target} answered all {seen.count} probes while it should have been down")
    return f"pid {before} killed, pid {after} in its place; {seen.failures} of {seen.count} probes failed meanwhile"


async def new_pid(control: Control, target: str, before: int | None, deadline_s: float) -> int:
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                now = await control.pid(target)
                if now not in {None, before}:
                    return int(now or 0)
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"{target} still has pid {before}, or none, {deadline_s:.0f} s after its end") from None


async def pause(fault: Fault, for_s: float, levers: Levers) -> str:
    """SIGSTOP: its connections stay open, and nobody answers on them."""
    async with levers.probe(fault.target).watching() as seen:
        async with stopped(levers.control(fault.target), fault.target):
            await asyncio.sleep(for_s)
        await asyncio.sleep(ANSWERED_AFTER_S)
    if not seen.failures and seen.slowest_s < for_s / 2:
        raise NoEffect(f"{fault.target} answered every probe within {seen.slowest_s * 1e3:.0f} ms")
    return f"slowest of {seen.count} probes {seen.slowest_s * 1e3:.0f} ms, {seen.failures} failed"


@asynccontextmanager
async def stopped(control: Control, target: str) -> AsyncIterator[None]:
    """The process stands still while the block runs."""
    await control.order(f"/processes/{target}/pause", {})
    try:
        yield
    finally:
        # Who was killed while it was stopped has nothing to resume.
        with contextlib.suppress(ControlRefused):
            await control.order(f"/processes/{target}/resume", {})


async def brownout(fault: Fault, for_s: float, levers: Levers) -> str:
    """Over when its time is. The supervisor undoes it by itself."""
    turns = {"for_s": for_s, "stopped_s": STOPPED_S, "running_s": RUNNING_S}
    async with levers.probe(fault.target).watching() as seen:
        await levers.control(fault.target).order(f"/processes/{fault.target}/brownout", turns)
        await asyncio.sleep(for_s)
    if not seen.failures and seen.slowest_s < STOPPED_S / 2:
        raise NoEffect(f"{fault.target} answered every probe within {seen.slowest_s * 1e3:.0f} ms")
    return f"slowest of {seen.count} probes {seen.slowest_s * 1e3:.0f} ms, {seen.failures} failed"
