"""Every message is delivered twice, as at-least-once delivery allows at any time."""

import asyncio
from dataclasses import dataclass, field

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from prebook.lab.faults.broker_channel import ANY_KEY, open_admin_channel, read_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect

COPY_HEADER = "x-prebook-lab-copy"
"""Header of a copy, which is not copied again. Services hand on no header that they do not know."""
DRAIN_TIMEOUT_S = 5.0


@dataclass
class MessageCopier:
    channel: AbstractChannel
    copied: int = 0
    failed: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def republish(self, message: AbstractIncomingMessage) -> None:
        if COPY_HEADER in message.headers:
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
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
    """A queue of our own hears all that is published for services. What it hears last is still copied."""
    exchanges = {each.exchange for each in await read_bindings(fault_access)}
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
        raise NoEffect("no message passed while everything was to be doubled; offer rides meanwhile")
    failed = f", {copier.failed} could not be" if copier.failed else ""
    return f"{copier.copied} messages delivered a second time to {', '.join(sorted(exchanges))}{failed}"


def copy_of(message: AbstractIncomingMessage) -> Message:
    """The same properties and headers, without the user, whom the broker would compare with ours."""
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
        app_id=message.app_id,
    )
