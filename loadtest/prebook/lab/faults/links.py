"""Network faults between two processes, injected by the supervisor's TCP proxies."""

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
"""Server -> first bytes of a client that make it respond: AMQP's protocol header, PostgreSQL's SSLRequest."""


def link_injection(
    state: str, took_effect: Callable[[ProbeResults], bool]
) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that puts a fault proxy into ``state``; the supervisor heals the proxy after the duration.

    ``took_effect`` decides from the results of connections made during the fault whether the link was in that state.
    """

    async def inject_link_fault(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        control = fault_access.supervisor()
        proxy = await control.read_proxy(fault.target)
        async with link_probe(proxy).run() as results:
            body = {"duration_s": duration_s, "delay_ms": DELAY_MS}
            await control.send_command(f"/proxies/{fault.target}/{state}", body)
            states = await _watch_states(fault.target, duration_s, fault_access)
        observed = f"{results.failures} of {results.count} probes failed, the slowest took {results.slowest_s:.2f} s"
        if not states[state] or not took_effect(results):
            raise NoEffect(f"{fault.target} was not {state}: {observed}; observed states: {dict(states)}")
        return f"{state}: {observed}; {proxy.connections} connections were open before"

    return inject_link_fault


def has_failures(results: ProbeResults) -> bool:
    """Return whether any probe failed."""
    return results.failures > 0


def is_slow(results: ProbeResults) -> bool:
    """Return whether a probe took at least DELAY_MS."""
    return results.slowest_s >= DELAY_MS / 1e3


def link_probe(proxy: ProxyInfo) -> TcpProbe:
    """Return a probe that connects through ``proxy`` and speaks the protocol of the server behind it."""
    return TcpProbe(proxy.address, HELLOS.get(proxy.name.rpartition("-")[2], HTTP_HELLO))


async def _watch_states(name: str, duration_s: float, fault_access: FaultAccess) -> Counter[str]:
    """Count how often the proxy was seen in each state, until it is healthy again after ``duration_s``."""
    clock = asyncio.get_running_loop().time
    end = clock() + duration_s
    counts = Counter[str]()
    state = ""

    async def read_state() -> Counter[str] | None:
        nonlocal state
        state = (await fault_access.supervisor().read_proxy(name)).state.value
        if state == ProxyState.HEALTHY and clock() >= end:
            return counts
        counts[state] += 1
        return None

    try:
        return await poll_until(read_state, interval_s=POLL_INTERVAL_S, timeout_s=duration_s + HEAL_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{name} is still {state} {HEAL_TIMEOUT_S:g} s after the fault should have ended") from None
