"""Duplication fault: deliver every message twice, as at-least-once delivery permits at any time."""

import asyncio
from dataclasses import dataclass, field

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from prebook.lab.faults.broker_channel import ANY_KEY, open_admin_channel, read_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect

COPY_HEADER = "x-prebook-lab-copy"
"""Header that marks a copy, so that copies are not copied. Services do not forward headers unknown to them."""
DRAIN_TIMEOUT_S = 5.0


@dataclass
class MessageCopier:
    """Consumer that publishes a copy of every message it gets, and counts the copies."""

    channel: AbstractChannel
    copied: int = 0
    failed: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def republish(self, message: AbstractIncomingMessage) -> None:
        """Publish a copy of ``message`` to the same exchange and routing key, unless it is a copy itself."""
        if COPY_HEADER in message.headers:
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a running coroutine has a task
        self.tasks.add(task)
        try:
            exchange = await self.channel.get_exchange(message.exchange or "", ensure=False)
            await exchange.publish(copy_of(message), message.routing_key or "", mandatory=False)
            self.copied += 1
        except AMQPError:
            self.failed += 1
        finally:
            self.tasks.discard(task)


async def duplicate_everything(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Copy every message that is published for services during ``duration_s`` seconds.

    A queue bound to all of their exchanges receives the originals; copies of the last ones are completed.
    Returns the evidence: the number of copies. Raises NoEffect if there was none.
    """
    exchanges = {binding.exchange for binding in await read_bindings(fault_access)}
    async with open_admin_channel(fault_access) as channel:
        queue = await channel.declare_queue(exclusive=True)
        copier = MessageCopier(channel)
        await queue.consume(copier.republish, no_ack=True)
        for exchange in sorted(exchanges):
            await queue.bind(exchange, ANY_KEY)
        await asyncio.sleep(duration_s)
        for exchange in sorted(exchanges):
            await queue.unbind(exchange, ANY_KEY)
        if copier.tasks:
            await asyncio.wait(copier.tasks, timeout=DRAIN_TIMEOUT_S)
    if not copier.copied:
        raise NoEffect("no message was published during the fault; offer rides at the same time")
    failed = f"; {copier.failed} copies could not be published" if copier.failed else ""
    return f"{copier.copied} messages delivered a second time to {', '.join(sorted(exchanges))}{failed}"


def copy_of(message: AbstractIncomingMessage) -> Message:
    """Return a copy with all properties, ``user_id`` of the sender included: the lab's user is an impersonator."""
    return Message(
        message.body,
        headers={**message.headers, COPY_HEADER: "1"},
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=message.delivery_mode,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        expiration=message.expiration,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        user_id=message.user_id,
        app_id=message.app_id,
    )
