"""Memory-alarm fault: the broker blocks all publishers."""

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
    """Raise a memory alarm for ``duration_s`` seconds; wait until a message published during the alarm is confirmed.

    Returns the evidence: how long that confirm took. Raises NoEffect if it took less than half of ``duration_s``.
    """
    async with open_admin_channel(fault_access) as channel:
        # Declared before the alarm: a blocked connection cannot declare a queue.
        queue = await channel.declare_queue(exclusive=True)
        usual_s = await _measure_confirm_s(channel, queue.name)
        await fault_access.supervisor().send_command("/servers/broker/alarm", {"duration_s": duration_s})
        await _wait_until_listed(fault_access)
        async with asyncio.timeout(duration_s + LIFTED_TIMEOUT_S):
            # The broker blocks a connection at its first publish and still confirms that one; the second waits.
            blocked_s = max([await _measure_confirm_s(channel, queue.name) for _ in range(2)])
    if blocked_s < duration_s / 2:
        raise NoEffect(f"the alarm was listed, but a message was confirmed after {blocked_s * 1e3:.0f} ms")
    return f"memory alarm listed; a publisher confirm took {blocked_s:.2f} s instead of {usual_s * 1e3:.0f} ms"


async def _measure_confirm_s(channel: AbstractChannel, queue: str) -> float:
    started_at = time.perf_counter()
    await channel.default_exchange.publish(Message(b"", delivery_mode=1), queue)
    return time.perf_counter() - started_at


async def _wait_until_listed(fault_access: FaultAccess) -> None:
    async def check_listed() -> bool | None:
        return await is_alarm_listed(fault_access) or None

    try:
        await poll_until(check_listed, interval_s=POLL_INTERVAL_S, timeout_s=LISTED_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"the broker listed no memory alarm within {LISTED_TIMEOUT_S:g} s") from None


async def is_alarm_listed(fault_access: FaultAccess) -> bool:
    """Return whether a memory alarm is in effect, by the health check, which reads live state unlike the statistics."""
    check = await fault_access.broker.get("health", "checks", "alarms", allowed_statuses=(CHECK_FAILED_STATUS,))
    return any("memory" in str(alarm) for alarm in check.get("alarms", ()))
