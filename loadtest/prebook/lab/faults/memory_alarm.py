"""The broker is short of memory, so it blocks whoever publishes."""

import asyncio
import time

from aio_pika import Message
from aio_pika.abc import AbstractChannel

from prebook.lab.faults.broker_channel import open_admin_channel
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until

POLL_INTERVAL_S = 0.2
LISTED_TIMEOUT_S = 6.0
LIFTED_TIMEOUT_S = 20.0
CHECK_FAILED_STATUS = 503


async def raise_memory_alarm(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Over when a message of our own, published during the alarm, is confirmed."""
    async with open_admin_channel(fault_access) as channel:
        # Before the alarm: on a blocked connection not even a queue can be declared.
        queue = await channel.declare_queue(exclusive=True)
        usual_s = await _measure_confirm_s(channel, queue.name)
        await fault_access.supervisor().send_command("/servers/broker/alarm", {"duration_s": duration_s})
        await _wait_until_listed(fault_access)
        async with asyncio.timeout(duration_s + LIFTED_TIMEOUT_S):
            # The first publish tells the broker whom to block, and still comes through.
            blocked_s = max([await _measure_confirm_s(channel, queue.name) for _ in range(2)])
    if blocked_s < duration_s / 2:
        raise NoEffect(f"the alarm was listed, but a message was confirmed within {blocked_s * 1e3:.0f} ms")
    return f"memory alarm listed; a confirm took {blocked_s:.2f} s, before it {usual_s * 1e3:.0f} ms"


async def _measure_confirm_s(channel: AbstractChannel, queue: str) -> float:
    began = time.perf_counter()
    await channel.default_exchange.publish(Message(b"", delivery_mode=1), queue)
    return time.perf_counter() - began


async def _wait_until_listed(fault_access: FaultAccess) -> None:
    async def check_listed() -> bool | None:
        return await is_alarm_listed(fault_access) or None

    try:
        await poll_until(check_listed, interval_s=POLL_INTERVAL_S, timeout_s=LISTED_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"the broker listed no memory alarm within {LISTED_TIMEOUT_S:g} s") from None


async def is_alarm_listed(fault_access: FaultAccess) -> bool:
    """Whether an alarm is in effect now: this page is asked, not collected, and so is never late."""
    told = await fault_access.broker.get("health", "checks", "alarms", allowed_statuses=(CHECK_FAILED_STATUS,))
    return any("memory" in str(alarm) for alarm in told.get("alarms", ()))
