"""The network between two processes, by the supervisor's own TCP proxy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.probe import Knock, Sightings
from prebook.lab.suite_client.supervisor import Link

LOOK_EVERY_S = 0.2
OPEN_AGAIN_WITHIN_S = 10.0
DELAY_MS = 200.0
AMQP = b"AMQP\x00\x00\x09\x01"
POSTGRES = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
HTTP = b"GET /livez HTTP/1.1\r\nHost: link\r\nConnection: close\r\n\r\n"
HELLOS: Mapping[str, bytes] = {"broker": AMQP, "database": POSTGRES}
"""What a client says first, so that a server answers: a protocol header, and a question for encryption."""


def disturbed(how: str, spoiled: Callable[[Sightings], bool]) -> Callable[[Fault, float, Levers], Awaitable[str]]:
    """``how``: the state that the link is put into, as the supervisor calls it, which opens it again by itself.

    ``spoiled``: whether what somebody met who connected meanwhile is what should happen in that state.
    """

    async def disturb(fault: Fault, for_s: float, levers: Levers) -> str:
        control = levers.control()
        before = await control.link(fault.target)
        async with knock(before).watching() as seen:
            await control.order(f"/links/{fault.target}/{how}", {"for_s": for_s, "delay_ms": DELAY_MS})
            states = await _watched(fault.target, for_s, levers)
        met = f"of {seen.count} who connected {seen.failures} got no answer, the slowest waited {seen.slowest_s:.2f} s"
        if not states[how] or not spoiled(seen):
            raise NoEffect(f"{fault.target} should have been {how}, but {met}; its states were {dict(states)}")
        return f"{how}: {met}; {before.connections} connections were open before"

    return disturb


def unanswered(seen: Sightings) -> bool:
    return seen.failures > 0


def late(seen: Sightings) -> bool:
    return seen.slowest_s >= DELAY_MS / 1e3


def knock(link: Link) -> Knock:
    return Knock(link.address, HELLOS.get(link.name.rpartition("-")[2], HTTP))


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
