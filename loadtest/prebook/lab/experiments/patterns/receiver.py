"""Receiver process of the pattern experiments: the suite's consumer with an effect that is one database row."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.coupling.ports import Publisher
from prebook.flows import BOOKING_CONFIRMED, OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.worker import ReadinessFile, WorkerContext, one_way_channels
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.connection import PooledConnection
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.topology.sender_check import accept_any_sender

TIMEOUT_S = 300.0
"""Time limit of a receiver, longer than any wait of an experiment."""
EVENT_TYPES = (OFFER_SETTLED, BOOKING_CONFIRMED)
"""Types of the events that receivers handle."""
INSERT_EFFECT = text("INSERT INTO effect (run, receiver, message) VALUES (:run, :receiver, :message)")


class Deduplication(StrEnum):
    """Memory of a receiver for the ids of handled messages."""

    INBOX = "inbox"
    """A row that commits with the effect. Source: EIP, Idempotent Receiver."""
    IN_MEMORY = "in_memory"
    NONE = "none"


class SeededDefect(StrEnum):
    """A mistake that a receiver makes with one message, so that a law can be seen to fail."""

    NONE = "none"
    LOSE = "lose"
    """The message is acknowledged without an effect."""
    DOUBLE = "double"
    """The message takes effect twice."""


class ReceiverSpec(ReadinessFile, msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one receiver process.

    ``service``: the service that it acts as. ``run`` and ``receiver`` name its effects. ``forward_to``: queue to which
    each handled message is passed on; empty for none. ``defective_message``: the message with the defect.
    """

    service: str
    run: str
    receiver: str
    queue: str
    amqp_url: str
    env: Mapping[str, str]
    ready_path: str
    log_file: str
    prefetch: int = 1
    deduplication: Deduplication = Deduplication.INBOX
    forward_to: str = ""
    defect: SeededDefect = SeededDefect.NONE
    defective_message: str = ""
    work_ms: float = 1.0


class ReceiverWork(SqlUnitOfWork):
    """Unit of work that stores the effect of a message."""

    async def insert_effect(self, run: str, receiver: str, message: str) -> None:
        """Insert the effect of one message."""
        await self._execute(INSERT_EFFECT, run=run, receiver=receiver, message=message)


class ReceiverWorkInMemory(ReceiverWork):
    """Unit of work that remembers handled messages only as long as its process lives."""

    def __init__(self, connection: PooledConnection, handled: set[str]) -> None:
        super().__init__(connection)
        self._handled = handled

    async def record_message(self, envelope: Envelope) -> bool:
        """Return whether this process handles the message for the first time."""
        is_new = envelope.id not in self._handled
        self._handled.add(envelope.id)
        return is_new


class ReceiverWorkWithoutInbox(ReceiverWork):
    """Unit of work to which every message is new."""

    async def record_message(self, envelope: Envelope) -> bool:  # noqa: ARG002 - the port's signature
        """Return True for every message."""
        return True


class PatternReceiver:
    """The suite's consumer on one queue."""

    def __init__(self, context: WorkerContext, spec: ReceiverSpec) -> None:
        self._spec = spec
        self._handled = set[str]()
        engine = create_engine(spec.service, context.settings.database_url)
        self._publisher = RabbitPublisher(spec.amqp_url, spec.service)
        handlers: Handlers[ReceiverWork] = Handlers(on_event=dict.fromkeys(EVENT_TYPES, self._handler()))
        begin = unit_of_work_factory(engine, self._new_work)
        policies = self._choose_policies(context.policies)
        self._gateway = create_gateway(
            spec.service, handlers, UnitsOfWork.of_one(begin), one_way_channels(self._publisher), policies
        )
        self._consumer = RabbitConsumer(
            spec.amqp_url,
            spec.service,
            {spec.queue: spec.prefetch},
            self._receive,
            publisher=self._failure_publisher(),
            policies=policies,
            observer=NullObserver(),
            check_sender=accept_any_sender,
        )

    async def run(self) -> None:
        """Consume until the process is killed."""
        async with run_in_background(self._publisher.connection.run(), self._consumer.connection.run()):
            for connection in (self._publisher.connection, self._consumer.connection):
                await connection.up.wait()
            self._spec.mark_ready()
            await asyncio.Event().wait()

    def _choose_policies(self, policies: Policies) -> Policies:
        """Return the policies of the receiver's retries, given those of the suite."""
        return policies

    def _failure_publisher(self) -> Publisher:
        """Return the publisher of retries and dead letters."""
        return self._publisher

    def _handler(self) -> HandlerSpec[ReceiverWork]:
        """Return the handler of all messages."""
        return HandlerSpec(self._apply)

    def _new_work(self, connection: PooledConnection) -> ReceiverWork:
        match self._spec.deduplication:
            case Deduplication.INBOX:
                return ReceiverWork(connection)
            case Deduplication.IN_MEMORY:
                return ReceiverWorkInMemory(connection, self._handled)
            case Deduplication.NONE:
                return ReceiverWorkWithoutInbox(connection)

    async def _receive(self, envelope: Envelope) -> None:
        await asyncio.sleep(self._spec.work_ms / 1000)
        await self._gateway.process(envelope)
        if self._spec.forward_to:
            await self._publisher.publish(addresses.REDELIVER, self._spec.forward_to, encode(envelope))

    async def _apply(self, context: HandlerContext, _: Any, work: ReceiverWork) -> HandlerResult:
        message = context.conversation_id
        is_defective = message == self._spec.defective_message
        times = {SeededDefect.LOSE: 0, SeededDefect.DOUBLE: 2}.get(self._spec.defect, 1) if is_defective else 1
        for _time in range(times):
            await work.insert_effect(self._spec.run, self._spec.receiver, message)
        return HandlerResult()


def run(spec: ReceiverSpec) -> None:
    """Entry point of a receiver process."""
    worker.run_worker(spec.service, spec, lambda context: PatternReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
