"""The network between two processes, by the supervisor's own TCP proxy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from prebook.devstack.supervisor.contract import ProxyInfo, ProxyState
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.probe import ProbeResults, TcpProbe

POLL_INTERVAL_S = 0.2
HEAL_TIMEOUT_S = 10.0
DELAY_MS = 200.0
AMQP_HELLO = b"AMQP\x00\x00\x09\x01"
POSTGRES_HELLO = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
HTTP_HELLO = b"GET /livez HTTP/1.1\r\nHost: link\r\nConnection: close\r\n\r\n"
HELLOS: Mapping[str, bytes] = {"broker": AMQP_HELLO, "database": POSTGRES_HELLO}
"""What a client says first, so that a server answers: a protocol header, and a question for encryption."""


def link_injection(
    state: str, took_effect: Callable[[ProbeResults], bool]
) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that puts a fault proxy into ``state``, which the supervisor undoes by itself.

    ``took_effect`` tells from the results of connecting meanwhile whether the link was in that state.
    """

    async def disturb(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        control = fault_access.supervisor()
        before = await control.read_proxy(fault.target)
        async with link_probe(before).run() as seen:
            body = {"duration_s": duration_s, "delay_ms": DELAY_MS}
            await control.send_command(f"/proxies/{fault.target}/{state}", body)
            states = await _watch_states(fault.target, duration_s, fault_access)
        met = f"of {seen.count} who connected {seen.failures} got no answer, the slowest waited {seen.slowest_s:.2f} s"
        if not states[state] or not took_effect(seen):
            raise NoEffect(f"{fault.target} should have been {state}, but {met}; its states were {dict(states)}")
        return f"{state}: {met}; {before.connections} connections were open before"

    return disturb


def has_failures(results: ProbeResults) -> bool:
    return results.failures > 0


def is_slow(results: ProbeResults) -> bool:
    return results.slowest_s >= DELAY_MS / 1e3


def link_probe(link: ProxyInfo) -> TcpProbe:
    return TcpProbe(link.address, HELLOS.get(link.name.rpartition("-")[2], HTTP_HELLO))


async def _watch_states(name: str, duration_s: float, fault_access: FaultAccess) -> Counter[str]:
    """Count how often the proxy was seen in each state, until it is healthy again after ``duration_s``."""
    clock = asyncio.get_running_loop().time
    end = clock() + duration_s
    seen = Counter[str]()
    state = ""

    async def read_state() -> Counter[str] | None:
        nonlocal state
        state = (await fault_access.supervisor().read_proxy(name)).state.value
        if state == ProxyState.HEALTHY and clock() >= end:
            return seen
        seen[state] += 1
        return None

    try:
        return await poll_until(read_state, interval_s=POLL_INTERVAL_S, timeout_s=duration_s + HEAL_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{name} is still {state}, {HEAL_TIMEOUT_S:g} s after its time") from None
