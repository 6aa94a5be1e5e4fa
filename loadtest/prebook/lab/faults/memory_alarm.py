"""The broker is short of memory, so it blocks whoever publishes."""

import asyncio
import time

from aio_pika import Message
from aio_pika.abc import AbstractChannel

from prebook.lab.faults.broker_channel import opened
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, NoEffect

LOOK_EVERY_S = 0.2
SEEN_WITHIN_S = 6.0
LIFTED_WITHIN_S = 20.0
FAILED = 503


async def memory_alarm(_: Fault, for_s: float, levers: Levers) -> str:
    """Over when a message of our own, published during the alarm, is confirmed."""
    async with opened(levers) as channel:
        # Before the alarm: on a blocked connection not even a queue can be declared.
        queue = await channel.declare_queue(exclusive=True)
        usual_s = await _confirmed(channel, queue.name)
        await levers.control().order("/parts/broker/alarm", {"for_s": for_s})
        await _seen(levers)
        async with asyncio.timeout(for_s + LIFTED_WITHIN_S):
            # The first publish tells the broker whom to block, and still comes through.
            blocked_s = max([await _confirmed(channel, queue.name) for _ in range(2)])
    if blocked_s < for_s / 2:
        raise NoEffect(f"the alarm was listed, but a message was confirmed within {blocked_s * 1e3:.0f} ms")
    return f"memory alarm listed; a confirm took {blocked_s:.2f} s, before it {usual_s * 1e3:.0f} ms"


async def _confirmed(channel: AbstractChannel, queue: str) -> float:
    began = time.perf_counter()
    await channel.default_exchange.publish(Message(b"", delivery_mode=1), queue)
    return time.perf_counter() - began


async def _seen(levers: Levers) -> None:
    try:
        async with asyncio.timeout(SEEN_WITHIN_S):
            while not await listed(levers):  # noqa: ASYNC110 - it is somebody else's event
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"the broker listed no memory alarm within {SEEN_WITHIN_S:g} s") from None


async def listed(levers: Levers) -> bool:
    """Whether an alarm is in effect now: this page is asked, not collected, and so is never late."""
    told = await levers.broker.get("health", "checks", "alarms", fine=(FAILED,))
    return any("memory" in str(alarm) for alarm in told.get("alarms", ()))
