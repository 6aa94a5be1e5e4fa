"""The network between two processes, by the supervisor's own TCP proxy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from loadtest.faults.levers import Levers
from loadtest.faults.values import Fault, NoEffect

LOOK_EVERY_S = 0.2
OPEN_AGAIN_WITHIN_S = 10.0
DELAY_MS = 200.0


def disturbed(how: str) -> Callable[[Fault, float, Levers], Awaitable[str]]:
    """``how``: the state that the link is put into, as the supervisor calls it. It opens the link again by itself."""

    async def disturb(fault: Fault, for_s: float, levers: Levers) -> str:
        control = levers.control()
        before = await control.link(fault.target)
        await control.order(f"/links/{fault.target}/{how}", {"for_s": for_s, "delay_ms": DELAY_MS})
        seen = await _watched(fault.target, for_s, levers)
        if not seen[how]:
            raise NoEffect(f"{fault.target} was never seen {how}; its states were {dict(seen)}")
        after = await control.link(fault.target)
        return f"{how} in {seen[how]} looks; {before.connections} connections before, {after.connections} after"

    return disturb


async def _watched(name: str, for_s: float, levers: Levers) -> Counter[str]:
    """How often it was seen in each state, until it is open again after its time."""
    clock, seen = asyncio.get_running_loop().time, Counter[str]()
    over = clock() + for_s
    try:
        async with asyncio.timeout(for_s + OPEN_AGAIN_WITHIN_S):
            while True:
                state = (await levers.control().link(name)).state
                if state == "open" and clock() >= over:
                    return seen
                seen[state] += 1
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"{name} is still {state}, {OPEN_AGAIN_WITHIN_S:g} s after its time") from None
