"""A broker of several nodes loses the one that leads a queue."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prebook.lab.faults import servers
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.broker_management import BrokerManagementError

POLL_INTERVAL_S = 0.3
ELECTION_TIMEOUT_S = 30.0


async def kill_leader(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """The node that leads most queues is killed; over when it is back and all that it led have other leaders."""
    leaders = await _read_leaders(fault_access)
    node = busiest_leader(leaders)
    part = await _find_server(node, fault_access)
    led = {queue for queue, leader in leaders.items() if leader == node}
    await servers.restart_server(fault_access.supervisor(), part, "kill", duration_s)
    after = await _wait_for_new_leaders(led, node, fault_access)
    new = ", ".join(sorted({after[queue] for queue in led}))
    return f"{part} ({node}) killed while it led {len(led)} queues; they are led by {new} now"


def busiest_leader(leaders: Mapping[str, str]) -> str:
    if not leaders:
        raise NoEffect("the broker tells of no queue with a leader")
    return Counter(leaders.values()).most_common(1)[0][0]


async def _wait_for_new_leaders(queues: Iterable[str], node: str, fault_access: FaultAccess) -> Mapping[str, str]:
    """Leaders of all queues, once one of those that the node led has another. A queue without a leader has none."""
    try:
        async with asyncio.timeout(ELECTION_TIMEOUT_S):
            while True:
                now = await _read_leaders_or_none(fault_access)
                if all(now.get(queue, node) != node for queue in queues):
                    return now
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise NoEffect(f"{node} still leads what it led, {ELECTION_TIMEOUT_S:.0f} s after it was killed") from None


async def _read_leaders_or_none(fault_access: FaultAccess) -> Mapping[str, str]:
    """Empty while the node that tells us is away itself."""
    try:
        return await _read_leaders(fault_access)
    except BrokerManagementError:
        return {}


async def _read_leaders(fault_access: FaultAccess) -> dict[str, str]:
    queues: list[Mapping[str, Any]] = await fault_access.broker.get("queues", fault_access.vhost)
    return {queue["name"]: queue["leader"] for queue in queues if queue.get("leader") and queue["type"] == "quorum"}


async def _find_server(node: str, fault_access: FaultAccess) -> str:
    """The part whose process is this node's."""
    nodes = await fault_access.broker.get("nodes")
    pid = next((int(each["os_pid"]) for each in nodes if each["name"] == node and each.get("os_pid")), None)
    for part in await fault_access.supervisor().list_servers():
        if pid is not None and part.pid == pid:
            return part.name
    raise NoEffect(f"no part of the supervisor is the node {node} (pid {pid})")
