"""One service's clock is wrong."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from prebook.lab.faults import parked_messages
from prebook.lab.faults.broker_channel import open_admin_channel, read_bindings, unshared_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.messages import malformed_message
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.faults.processes import RESTART_TIMEOUT_S, wait_for_new_pid

SKEW_S = 90.0
PARKING_TIMEOUT_S = 20.0
FIRST_FAILED_AT_HEADER = "prebook-x-first-failed-at"
"""Header of a parked message: when it failed, by the clock of who could not handle it."""


async def skew_clock(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """It is started anew with the wrong clock, and once more with the right one; over when that runs."""
    wrong = await _restart_with_skew(fault.target, SKEW_S, fault_access)
    try:
        seen_s, _pause = await asyncio.gather(_measure_skew_s(fault.target, fault_access), asyncio.sleep(duration_s))
    finally:
        right = await _restart_with_skew(fault.target, 0.0, fault_access)
    if abs(seen_s - SKEW_S) > SKEW_S / 2:
        raise NoEffect(f"pid {wrong} of {fault.target} should be {SKEW_S:g} s ahead, and is {seen_s:.1f} s ahead")
    return f"pid {wrong} stamped a message {seen_s:.1f} s ahead of us; pid {right} runs with the right clock"


async def _restart_with_skew(target: str, skew_s: float, fault_access: FaultAccess) -> int:
    control = fault_access.supervisor(target)
    before = await control.read_pid(target)
    await control.send_command(f"/processes/{target}/skew", {"skew_s": skew_s})
    return await wait_for_new_pid(control, target, before, RESTART_TIMEOUT_S)


async def _measure_skew_s(target: str, fault_access: FaultAccess) -> float:
    """By the time that it writes on a message which it cannot read, and sets aside."""
    places = [each for each in unshared_bindings(await read_bindings(fault_access)) if each.service == target]
    if not places:
        raise NoEffect(f"the broker has no queue that {target} takes from, so nobody can see its clock")
    message_id = f"clock-{uuid4().hex[:12]}"
    async with open_admin_channel(fault_access) as channel:
        exchange = await channel.get_exchange(places[0].exchange, ensure=False)
        await exchange.publish(malformed_message(message_id), places[0].routing_key)
    (line,) = await parked_messages.wait_until_parked(fault_access, [message_id], PARKING_TIMEOUT_S)
    stamped = (await parked_messages.read_headers(fault_access, line.id))[FIRST_FAILED_AT_HEADER]
    seen_s = (datetime.fromisoformat(stamped) - datetime.now(UTC)).total_seconds()
    await parked_messages.discard(fault_access, [line])
    return seen_s
