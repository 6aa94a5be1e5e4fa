"""The network between two processes, by the supervisor's own TCP proxy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.probe import ProbeResults, TcpProbe
from prebook.lab.suite_client.supervisor import ProxyStatus

POLL_INTERVAL_S = 0.2
REOPEN_TIMEOUT_S = 10.0
DELAY_MS = 200.0
AMQP_HELLO = b"AMQP\x00\x00\x09\x01"
POSTGRES_HELLO = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
HTTP_HELLO = b"GET /livez HTTP/1.1\r\nHost: link\r\nConnection: close\r\n\r\n"
HELLOS: Mapping[str, bytes] = {"broker": AMQP_HELLO, "database": POSTGRES_HELLO}
"""What a client says first, so that a server answers: a protocol header, and a question for encryption."""


def link_injection(
    state: str, took_effect: Callable[[ProbeResults], bool]
) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """``how``: the state that the link is put into, as the supervisor calls it, which opens it again by itself.

    ``spoiled``: whether what somebody met who connected meanwhile is what should happen in that state.
    """

    async def disturb(fault: Fault, for_s: float, levers: FaultAccess) -> str:
        control = levers.supervisor()
        before = await control.read_proxy(fault.target)
        async with link_probe(before).run() as seen:
            await control.send_command(f"/proxies/{fault.target}/{state}", {"duration_s": for_s, "delay_ms": DELAY_MS})
            states = await _watch_states(fault.target, for_s, levers)
        met = f"of {seen.count} who connected {seen.failures} got no answer, the slowest waited {seen.slowest_s:.2f} s"
        if not states[state] or not took_effect(seen):
            raise NoEffect(f"{fault.target} should have been {state}, but {met}; its states were {dict(states)}")
        return f"{state}: {met}; {before.connections} connections were open before"

    return disturb


def has_failures(results: ProbeResults) -> bool:
    return results.failures > 0


def is_slow(results: ProbeResults) -> bool:
    return results.slowest_s >= DELAY_MS / 1e3


def link_probe(link: ProxyStatus) -> TcpProbe:
    return TcpProbe(link.address, HELLOS.get(link.name.rpartition("-")[2], HTTP_HELLO))


async def _watch_states(name: str, duration_s: float, fault_access: FaultAccess) -> Counter[str]:
    """How often it was seen in each state, until it is open again after its time."""
    clock, seen = asyncio.get_running_loop().time, Counter[str]()
    over = clock() + duration_s
    try:
        async with asyncio.timeout(duration_s + REOPEN_TIMEOUT_S):
            while True:
                state = (await fault_access.supervisor().read_proxy(name)).state
                if state == "healthy" and clock() >= over:
                    return seen
                seen[state] += 1
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise NoEffect(f"{name} is still {state}, {REOPEN_TIMEOUT_S:g} s after its time") from None
