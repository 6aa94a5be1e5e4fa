"""Broker and database are ended and come back on the same data."""

import asyncio
from collections.abc import Awaitable, Callable

from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.supervisor import Control, Part

LOOK_EVERY_S = 0.2
RETURN_DEADLINE_S = 60.0


def ended(how: str) -> Callable[[Fault, float, Levers], Awaitable[str]]:
    """``how``: ``stop`` in order, or ``kill``. Over when the part runs again, as a process of its own."""

    async def end(fault: Fault, for_s: float, levers: Levers) -> str:
        before, after = await restarted(levers.control(), fault.target, how, for_s)
        return f"{fault.target}: pid {before.pid} ended ({how}), pid {after.pid} in its place, on the same data"

    return end


async def restarted(control: Control, name: str, how: str, for_s: float) -> tuple[Part, Part]:
    """Before and after. Raises NoEffect where no other process came in its place."""
    before = await control.part(name)
    await control.order(f"/parts/{name}/restart", {"how": how, "hold_s": for_s})
    return before, await another(control, before, for_s + RETURN_DEADLINE_S)


async def another(control: Control, before: Part, deadline_s: float) -> Part:
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                now = await control.part(before.name)
                if now.runs and (now.pid, now.restarts) != (before.pid, before.restarts):
                    return now
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(
            f"no other process of {before.name} came in the place of pid {before.pid} within {deadline_s:.0f} s"
        ) from None
