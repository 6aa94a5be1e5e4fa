"""Consumer of the exactly-once experiment: each handled message inserts one row, and the rows are counted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.exactly_once.crash_matrix import CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import CrashPlan, CrashWorkerSpec
from prebook.lab.experiments.worker import WorkerContext, one_way_channels
from prebook.messaging import addresses
from prebook.messaging.envelope import Envelope
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import retry_delays_s
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check

(SERVICE,) = OFFER_SETTLED.subscribers
QUEUES: Mapping[str, int] = {addresses.event_queue(SERVICE): 1}
"""Prefetch of 1: messages are handled in delivery order, redelivered ones included, so the sentinel comes last."""
INSERT_EFFECT = text("INSERT INTO effect (operation) VALUES (:operation)")


class ConsumerWork(SqlUnitOfWork):
    """Unit of work with the inbox."""

    async def insert_effect(self, operation: str) -> None:
        """Insert the effect of an operation."""
        await self._execute(INSERT_EFFECT, operation=operation)


class ConsumerWorkWithoutInbox(ConsumerWork):
    """Unit of work without the inbox: every message counts as new."""

    async def record_message(self, envelope: Envelope) -> bool:  # noqa: ARG002 - the port's signature
        """Return True for every message."""
        return True


WORK_BY_INBOX: Mapping[bool, type[ConsumerWork]] = {True: ConsumerWork, False: ConsumerWorkWithoutInbox}


async def apply_offer_settled(context: HandlerContext, _: Any, work: ConsumerWork) -> HandlerResult:
    """Handle an event: insert its effect."""
    await work.insert_effect(context.conversation_id)
    return HandlerResult()


class ExactlyOnceConsumer:
    """Consumes until the sentinel message is handled; crashes between an effect and its acknowledgement if planned."""

    def __init__(self, context: WorkerContext, crash_plan: CrashPlan) -> None:
        self._crash_plan = crash_plan
        self._sentinel_handled = asyncio.Event()
        self._engine = create_engine(SERVICE, context.settings.database_url)
        self._publisher = RabbitPublisher(context.settings.amqp_url, SERVICE)
        begin = unit_of_work_factory(self._engine, WORK_BY_INBOX[crash_plan.cell.inbox])
        handlers: Handlers[ConsumerWork] = Handlers(on_event={OFFER_SETTLED: HandlerSpec(apply_offer_settled)})
        self._gateway = create_gateway(
            SERVICE, handlers, UnitsOfWork.of_one(begin), one_way_channels(self._publisher), context.policies
        )
        self._consumer = RabbitConsumer(
            context.settings.amqp_url,
            SERVICE,
            QUEUES,
            self._receive,
            publisher=self._publisher,
            policies=context.policies,
            observer=NullObserver(),
            check_sender=sender_check(suite_topology(retry_delays_s(context.policies))),
        )

    async def run(self) -> None:
        """Consume until the sentinel message is handled."""
        async with run_in_background(self._publisher.connection.run(), self._consumer.connection.run()):
            await self._sentinel_handled.wait()
            await self._consumer.stop()
        await self._engine.dispose()

    async def _receive(self, envelope: Envelope) -> None:
        operation = envelope.conversation_id
        self._crash_plan.record_progress(operation)
        await self._gateway.process(envelope)
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_ACK, operation)
        if operation == self._crash_plan.cell.sentinel_operation:
            self._sentinel_handled.set()


def run(spec: CrashWorkerSpec) -> None:
    """Entry point of the consumer process."""
    worker.run_worker(SERVICE, spec, lambda context: ExactlyOnceConsumer(context, spec.crash_plan).run())
