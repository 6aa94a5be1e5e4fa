"""Connection-loss fault: close every connection of the suite to the broker, as an operator can."""

import asyncio

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.broker_management import BrokerManagement

ROUND_INTERVAL_S = 0.5
LISTING_TIMEOUT_S = 6.0
"""Seconds to wait for the first listed connection: the management API lists new ones with a delay of some seconds."""
CLOSE_REASON = "fault injected by the prebook lab"


async def close_connections(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Close every connection of the suite, and every new one, for ``duration_s`` seconds.

    Returns the evidence: the number of closed connections. Raises NoEffect if none was listed or a closed one is open.
    """
    broker = fault_access.broker
    closed = set[str]()
    clock = asyncio.get_running_loop().time
    started_at = clock()
    while not closed or clock() - started_at < duration_s:
        closed |= await _close_listed(broker, fault_access.vhost)
        if not closed and clock() - started_at > duration_s + LISTING_TIMEOUT_S:
            raise NoEffect("the broker listed no connection of the suite, so there was none to close")
        await asyncio.sleep(ROUND_INTERVAL_S)
    if still_open := closed & await _list_connections(broker, fault_access.vhost):
        raise NoEffect(
            f"{len(still_open)} of {len(closed)} closed connections are still open: {', '.join(sorted(still_open)[:3])}"
        )
    return f"{len(closed)} connections closed, none of them listed afterwards"


async def _close_listed(broker: BrokerManagement, vhost: str) -> set[str]:
    names = await _list_connections(broker, vhost)
    await asyncio.gather(*(broker.delete("connections", name, reason=CLOSE_REASON) for name in names))
    return names


async def _list_connections(broker: BrokerManagement, vhost: str) -> set[str]:
    """Return the names of the suite's connections: all except those of the administrator."""
    listed = await broker.get("vhosts", vhost, "connections")
    return {connection["name"] for connection in listed if connection.get("user") != broker.user}
