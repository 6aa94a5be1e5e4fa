"""Caller of a flow in the place of a service that does not run: sends requests, and receives the replies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling
from prebook.coupling.request_reply import RequestReply
from prebook.flows import FLOWS, Flow
from prebook.lab.background import run_in_background
from prebook.lab.experiments.testbed import ExperimentTestbed
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import decode
from prebook.messaging.envelope import Envelope, MessageKind, message_id, request_id_of
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.publisher import RabbitPublisher

PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)


class StubCaller:
    """Publishes as the flow's caller, with its user of the broker. ``replies``: first reply so far, by request id."""

    def __init__(self, flow: Flow[Any, Any], publisher: RabbitPublisher) -> None:
        self._flow = flow
        self._channel = RequestReply(publisher)
        self.replies: dict[str, Message] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, testbed: ExperimentTestbed, flow: Flow[Any, Any]) -> AsyncIterator[Self]:
        """Receive replies while the block runs."""
        service = flow.caller
        publisher = RabbitPublisher(testbed.context.envs[service]["PREBOOK_AMQP_URL"], service)
        caller = cls(flow, publisher)
        async with (
            run_in_background(publisher.connection.run()),
            await aio_pika.connect(testbed.stack.broker.amqp_url) as connection,
        ):
            await publisher.connection.up.wait()
            replies = await (await connection.channel()).get_queue(addresses.reply_queue(service), ensure=False)
            await replies.consume(caller.receive)
            yield caller

    async def send(self, conversation_id: str, body: Message, key: str = "") -> None:
        """Send a request, and return once the broker has it. ``key``: tells requests of one conversation apart."""
        request = Envelope(
            id=message_id(conversation_id, self._flow.name, key),
            kind=MessageKind.REQUEST,
            flow=self._flow.name,
            body=body,
            source=self._flow.caller,
            conversation_id=conversation_id,
            time=utc_now(),
            plan=PLAN,
        )
        await self._channel.send(self._channel.addressed(request))

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """Keep the reply, and acknowledge it."""
        reply = decode(from_amqp(message))
        self.replies.setdefault(request_id_of(reply.id), reply.body)
        await message.ack()
