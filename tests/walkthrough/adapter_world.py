"""The suite over the PostgreSQL and RabbitMQ adapters of production, with an embedded database and no broker.

Messages travel through the broker of ``prebook.testing``. A stand-in of a delivery passes each to the real consumer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prebook.messaging.codec import WireMessage
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.headers import MESSAGE_ID_HEADER
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.runtime.assembly import ServicePorts
from prebook.runtime.service import Service
from prebook.topology.sender_check import accept_any_sender
from tests.databases import dispose_engine
from tests.world import MEMBERS, SuiteWorld

POLL_INTERVAL_S = 0.02


@dataclass
class OpenChannel:
    is_closed: bool = False


@dataclass
class Delivery:
    """The part of a delivered message that the consumers use."""

    headers: Mapping[str, str]
    body: bytes
    exchange: str
    routing_key: str
    content_type: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    redelivered: bool = False
    timestamp: datetime | None = None
    channel: OpenChannel = field(default_factory=OpenChannel)

    async def ack(self) -> None: ...


class OpenSubscription:
    """A subscription whose channel stays open."""

    def can_settle(self, _: object) -> bool:
        return True


class AdapterWorld(SuiteWorld):
    """Suite whose services use PostgreSQL and the consumer of RabbitMQ. ``urls``: database of each service."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._engines = {name: create_engine(name, urls[name]) for name in MEMBERS}
        super().__init__(deadline_s=600.0)

    async def __aexit__(self, *details: object) -> None:
        await super().__aexit__(*details)
        for engine in self._engines.values():
            await dispose_engine(engine)

    def _open_ports(self, service: Service[Any]) -> ServicePorts[Any]:
        engine = self._engines[service.name]
        outbox = SqlOutbox(engine, f"{service.name} relay")
        relay = Relay(outbox, self._observer)
        units = UnitsOfWork.of_one(unit_of_work_factory(engine, service.unit_of_work, relay.hand_off))
        return ServicePorts(http=self.http, publisher=self.broker, units=units, relay=relay, pending_replies=outbox)

    async def _consume(self, service: str, queue: str, receive: MessageHandler) -> None:
        consumer = RabbitConsumer(
            "amqp://none",
            service,
            {queue: 1},
            receive,
            publisher=self.broker,
            policies=self.policies,
            observer=self._observer,
            check_sender=accept_any_sender,  # the broker in memory has no accounts
        )
        subscription: Any = OpenSubscription()
        consumer._subscriptions = {queue: subscription}
        deliver = consumer._message_callback(queue)
        waiting = self.broker.queues[queue]
        while True:
            await self._wait_until_up(service)
            if waiting:
                await deliver(self.delivery_of(waiting.popleft()))
            else:
                await self.broker.wait_for_message(queue)

    async def _wait_for_change(self, booking_id: str, before: object) -> None:
        await asyncio.sleep(POLL_INTERVAL_S)

    def delivery_of(self, wire: WireMessage) -> Any:
        """Deliver a message as the broker would, with the address that it was published to last."""
        message_id = wire.headers[MESSAGE_ID_HEADER]
        exchange, routing_key = next(
            (exchange, key)
            for exchange, key, published in reversed(self.broker.published)
            if published.headers[MESSAGE_ID_HEADER] == message_id
        )
        return Delivery(wire.headers, wire.body, exchange, routing_key)
