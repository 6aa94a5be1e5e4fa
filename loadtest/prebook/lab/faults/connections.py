"""Every connection to the broker is closed, as by an operator."""

import asyncio

from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.suite_client.broker_management import Management

EVERY_S = 0.5
LISTED_WITHIN_S = 6.0
"""A connection of the last seconds may not be listed yet."""
REASON = "cut on purpose by prebook's load test"


async def cut(_: Fault, for_s: float, levers: Levers) -> str:
    """Whoever is connected, and whoever comes back before the time is over, is cut off."""
    broker, gone = levers.broker, set[str]()
    clock = asyncio.get_running_loop().time
    began = clock()
    while not gone or clock() - began < for_s:
        gone |= await _round(broker, levers.vhost)
        if not gone and clock() - began > for_s + LISTED_WITHIN_S:
            raise NoEffect("the broker listed no connection of the suite, so there was none to cut")
        await asyncio.sleep(EVERY_S)
    if left := gone & await _connected(broker, levers.vhost):
        raise NoEffect(f"{len(left)} of {len(gone)} connections are still there: {', '.join(sorted(left)[:3])}")
    return f"{len(gone)} connections closed, none of them seen again"


async def _round(broker: Management, vhost: str) -> set[str]:
    names = await _connected(broker, vhost)
    await asyncio.gather(*(broker.delete("connections", name, reason=REASON) for name in names))
    return names


async def _connected(broker: Management, vhost: str) -> set[str]:
    """The suite's; what the administrator has open is not its."""
    listed = await broker.get("vhosts", vhost, "connections")
    return {each["name"] for each in listed if each.get("user") != broker.user}
