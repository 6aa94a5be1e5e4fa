"""Leader-loss fault: kill the broker node that leads most quorum queues of a cluster."""

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
    """Kill the node that leads most queues, for ``duration_s`` seconds; wait for its restart and for new leaders.

    Returns the evidence: the node, the number of its queues, and their new leaders. Raises NoEffect.
    """
    leaders = await _read_leaders(fault_access)
    node = busiest_leader(leaders)
    server = await _find_server(node, fault_access)
    led_queues = {queue for queue, leader in leaders.items() if leader == node}
    await servers.restart_server(fault_access.supervisor(), server, "kill", duration_s)
    leaders_after = await _wait_for_new_leaders(led_queues, node, fault_access)
    new_leaders = ", ".join(sorted({leaders_after[queue] for queue in led_queues}))
    return f"{server} ({node}) killed while it led {len(led_queues)} queues; their leader is now {new_leaders}"


def busiest_leader(leaders: Mapping[str, str]) -> str:
    """Return the node that leads most queues; ``leaders`` maps queue to node. Raises NoEffect if it is empty."""
    if not leaders:
        raise NoEffect("the broker lists no quorum queue with a leader")
    return Counter(leaders.values()).most_common(1)[0][0]


async def _wait_for_new_leaders(queues: Collection[str], node: str, fault_access: FaultAccess) -> Mapping[str, str]:
    """Return the leaders of all queues, once each of ``queues`` is led by another node than ``node``."""

    async def read_new_leaders() -> Mapping[str, str] | None:
        leaders = await _read_leaders_if_available(fault_access)
        return leaders if all(leaders.get(queue, node) != node for queue in queues) else None

    try:
        return await poll_until(read_new_leaders, interval_s=POLL_INTERVAL_S, timeout_s=ELECTION_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(
            f"{node} still leads some of its queues {ELECTION_TIMEOUT_S:.0f} s after it was killed"
        ) from None


async def _read_leaders_if_available(fault_access: FaultAccess) -> Mapping[str, str]:
    """Return queue -> leader, empty while the node that serves the management API is down."""
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
    pids = (int(entry["os_pid"]) for entry in nodes if entry["name"] == node and entry.get("os_pid"))
    pid = next(pids, None)
    for server in await fault_access.supervisor().list_servers():
        if pid is not None and server.pid == pid:
            return server.name
    raise NoEffect(f"the supervisor runs no server with the pid of node {node} ({pid})")
