"""Every connection to the broker is closed, as by an operator."""

import asyncio

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.broker_management import BrokerManagement

ROUND_INTERVAL_S = 0.5
LISTING_TIMEOUT_S = 6.0
"""A connection of the last seconds may not be listed yet."""
CLOSE_REASON = "cut on purpose by the prebook lab"


async def close_connections(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Whoever is connected, and whoever comes back before the time is over, is cut off."""
    broker = fault_access.broker
    gone = set[str]()
    clock = asyncio.get_running_loop().time
    began = clock()
    while not gone or clock() - began < duration_s:
        gone |= await _close_listed(broker, fault_access.vhost)
        if not gone and clock() - began > duration_s + LISTING_TIMEOUT_S:
            raise NoEffect("the broker listed no connection of the suite, so there was none to cut")
        await asyncio.sleep(ROUND_INTERVAL_S)
    if left := gone & await _list_connections(broker, fault_access.vhost):
        raise NoEffect(f"{len(left)} of {len(gone)} connections are still there: {', '.join(sorted(left)[:3])}")
    return f"{len(gone)} connections closed, none of them seen again"


async def _close_listed(broker: BrokerManagement, vhost: str) -> set[str]:
    names = await _list_connections(broker, vhost)
    await asyncio.gather(*(broker.delete("connections", name, reason=CLOSE_REASON) for name in names))
    return names


async def _list_connections(broker: BrokerManagement, vhost: str) -> set[str]:
    """The suite's; what the administrator has open is not its."""
    listed = await broker.get("vhosts", vhost, "connections")
    return {each["name"] for each in listed if each.get("user") != broker.user}
