"""A broker of several nodes loses the one that leads a queue."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from prebook.lab.faults import servers
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.broker_management import BrokerManagementError

POLL_INTERVAL_S = 0.3
ELECTION_TIMEOUT_S = 30.0


async def kill_leader(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """The node that leads most queues is killed; over when it is back and all that it led have other leaders."""
    leaders = await _read_leaders(fault_access)
    node = busiest_leader(leaders)
    server = await _find_server(node, fault_access)
    led = {queue for queue, leader in leaders.items() if leader == node}
    await servers.restart_server(fault_access.supervisor(), server, "kill", duration_s)
    after = await _wait_for_new_leaders(led, node, fault_access)
    new = ", ".join(sorted({after[queue] for queue in led}))
    return f"{server} ({node}) killed while it led {len(led)} queues; they are led by {new} now"


def busiest_leader(leaders: Mapping[str, str]) -> str:
    if not leaders:
        raise NoEffect("the broker tells of no queue with a leader")
    return Counter(leaders.values()).most_common(1)[0][0]


async def _wait_for_new_leaders(queues: Collection[str], node: str, fault_access: FaultAccess) -> Mapping[str, str]:
    """Return the leaders of all queues, once each of ``queues`` is led by another node than ``node``."""

    async def read_new_leaders() -> Mapping[str, str] | None:
        now = await _read_leaders_or_none(fault_access)
        return now if all(now.get(queue, node) != node for queue in queues) else None

    try:
        return await poll_until(read_new_leaders, interval_s=POLL_INTERVAL_S, timeout_s=ELECTION_TIMEOUT_S)
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
    """Return the name of the server whose process is this node."""
    nodes = await fault_access.broker.get("nodes")
    pid = next((int(each["os_pid"]) for each in nodes if each["name"] == node and each.get("os_pid")), None)
    for server in await fault_access.supervisor().list_servers():
        if pid is not None and server.pid == pid:
            return server.name
    raise NoEffect(f"no server of the supervisor is the node {node} (pid {pid})")
