"""One service's clock is wrong."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from prebook.lab.faults import parked_messages
from prebook.lab.faults.broker_channel import addresses, alone, opened
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.messages import garbage
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.faults.processes import RETURN_DEADLINE_S, new_pid

AHEAD_S = 90.0
PARKED_WITHIN_S = 20.0
STAMP = "prebook-x-failed-at"
"""Header of a parked message: when it failed, by the clock of who could not handle it."""


async def clock_skew(fault: Fault, for_s: float, levers: Levers) -> str:
    """It is started anew with the wrong clock, and once more with the right one; over when that runs."""
    wrong = await _started(fault.target, AHEAD_S, levers)
    try:
        seen_s, _pause = await asyncio.gather(_seen_s(fault.target, levers), asyncio.sleep(for_s))
    finally:
        right = await _started(fault.target, 0.0, levers)
    if abs(seen_s - AHEAD_S) > AHEAD_S / 2:
        raise NoEffect(f"pid {wrong} of {fault.target} should be {AHEAD_S:g} s ahead, and is {seen_s:.1f} s ahead")
    return f"pid {wrong} stamped a message {seen_s:.1f} s ahead of us; pid {right} runs with the right clock"


async def _started(target: str, by_s: float, levers: Levers) -> int:
    control = levers.control(target)
    before = await control.pid(target)
    await control.order(f"/processes/{target}/skew", {"by_s": by_s})
    return await new_pid(control, target, before, RETURN_DEADLINE_S)


async def _seen_s(target: str, levers: Levers) -> float:
    """By the time that it writes on a message which it cannot read, and sets aside."""
    places = [each for each in alone(await addresses(levers)) if each.service == target]
    if not places:
        raise NoEffect(f"the broker has no queue that {target} takes from, so nobody can see its clock")
    message_id = f"clock-{uuid4().hex[:12]}"
    async with opened(levers) as channel:
        exchange = await channel.get_exchange(places[0].exchange, ensure=False)
        await exchange.publish(garbage(message_id), places[0].key)
    (line,) = await parked_messages.parked(levers, [message_id], PARKED_WITHIN_S)
    stamped = (await parked_messages.headers(levers, line.id))[STAMP]
    seen_s = (datetime.fromisoformat(stamped) - datetime.now(UTC)).total_seconds()
    await parked_messages.discard(levers, [line])
    return seen_s
