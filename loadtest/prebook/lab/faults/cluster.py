"""A broker of several nodes loses the one that leads a queue."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prebook.lab.faults import servers
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.broker_management import BrokerRefused

LOOK_EVERY_S = 0.3
ELECTED_WITHIN_S = 30.0


async def leader_lost(_: Fault, for_s: float, levers: Levers) -> str:
    """The node that leads most queues is killed; over when it is back and all that it led have other leaders."""
    leaders = await _leaders(levers)
    node = most_leading(leaders)
    part = await _part_of(node, levers)
    led = {queue for queue, leader in leaders.items() if leader == node}
    await servers.restarted(levers.control(), part, "kill", for_s)
    after = await _moved(led, node, levers)
    new = ", ".join(sorted({after[queue] for queue in led}))
    return f"{part} ({node}) killed while it led {len(led)} queues; they are led by {new} now"


def most_leading(leaders: Mapping[str, str]) -> str:
    if not leaders:
        raise NoEffect("the broker tells of no queue with a leader")
    return Counter(leaders.values()).most_common(1)[0][0]


async def _moved(led: Iterable[str], node: str, levers: Levers) -> Mapping[str, str]:
    """Leaders of all queues, once one of those that the node led has another. A queue without a leader has none."""
    try:
        async with asyncio.timeout(ELECTED_WITHIN_S):
            while True:
                now = await _leaders_if_told(levers)
                if all(now.get(queue, node) != node for queue in led):
                    return now
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"{node} still leads what it led, {ELECTED_WITHIN_S:.0f} s after it was killed") from None


async def _leaders_if_told(levers: Levers) -> Mapping[str, str]:
    """Empty while the node that tells us is away itself."""
    try:
        return await _leaders(levers)
    except BrokerRefused:
        return {}


async def _leaders(levers: Levers) -> dict[str, str]:
    queues: list[Mapping[str, Any]] = await levers.broker.get("queues", levers.vhost)
    return {queue["name"]: queue["leader"] for queue in queues if queue.get("leader") and queue["type"] == "quorum"}


async def _part_of(node: str, levers: Levers) -> str:
    """The part whose process is this node's."""
    nodes = await levers.broker.get("nodes")
    pid = next((int(each["os_pid"]) for each in nodes if each["name"] == node and each.get("os_pid")), None)
    for part in await levers.control().parts():
        if pid is not None and part.pid == pid:
            return part.name
    raise NoEffect(f"no part of the supervisor is the node {node} (pid {pid})")
