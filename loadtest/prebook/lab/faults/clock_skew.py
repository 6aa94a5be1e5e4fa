"""Clock-skew fault: run one service with a clock that is ahead."""

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
PARKING_TIMEOUT_S = 45.0
FIRST_FAILED_AT_HEADER = "prebook-x-first-failed-at"
"""Header of a dead letter: time of its first failure, by the clock of the service that failed."""


async def skew_clock(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Restart ``fault.target`` with its clock SKEW_S ahead, and after ``duration_s`` seconds with the right clock.

    Returns the evidence: the skew measured from outside. Raises NoEffect if less than half of SKEW_S was measured.
    """
    skewed = await _restart_with_skew(fault.target, SKEW_S, fault_access)
    try:
        measured_s, _ = await asyncio.gather(_measure_skew_s(fault.target, fault_access), asyncio.sleep(duration_s))
    finally:
        restored = await _restart_with_skew(fault.target, 0.0, fault_access)
    if abs(measured_s - SKEW_S) > SKEW_S / 2:
        raise NoEffect(
            f"the clock of {fault.target} (pid {skewed}) is {measured_s:.1f} s ahead instead of {SKEW_S:g} s"
        )
    return (
        f"pid {skewed} stamped a message {measured_s:.1f} s ahead of the lab; pid {restored} runs with the right clock"
    )


async def _restart_with_skew(target: str, skew_s: float, fault_access: FaultAccess) -> int:
    control = fault_access.supervisor(target)
    old_pid = await control.read_pid(target)
    await control.send_command(f"/processes/{target}/skew", {"skew_s": skew_s})
    return await wait_for_new_pid(control, target, old_pid, RESTART_TIMEOUT_S)


async def _measure_skew_s(target: str, fault_access: FaultAccess) -> float:
    """Return how far ahead the clock of ``target`` is, by the failure time in a malformed message that it parks."""
    candidates = [route for route in unshared_bindings(await read_bindings(fault_access)) if route.service == target]
    if not candidates:
        raise NoEffect(f"the broker has no queue that only {target} consumes from, so its clock cannot be measured")
    message = malformed_message(f"clock-{uuid4().hex[:12]}")
    async with open_admin_channel(fault_access) as channel:
        exchange = await channel.get_exchange(candidates[0].exchange, ensure=False)
        await exchange.publish(message, candidates[0].routing_key)
    (dead_letter,) = await parked_messages.wait_until_parked(fault_access, [str(message.message_id)], PARKING_TIMEOUT_S)
    failed_at = (await parked_messages.read_headers(fault_access, dead_letter.id))[FIRST_FAILED_AT_HEADER]
    measured_s = (datetime.fromisoformat(failed_at) - datetime.now(UTC)).total_seconds()
    await parked_messages.discard(fault_access, [dead_letter])
    return measured_s
