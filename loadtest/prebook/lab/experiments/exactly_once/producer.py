"""The producer: performs operations for a caller who repeats what he has no acknowledgement of."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.coupling.ports import Publisher
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.exactly_once.crash_matrix import CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import CrashPlan, CrashWorkerSpec
from prebook.lab.experiments.worker import WorkerContext, one_way_channels
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.staging import MessageContext
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns import trace
from prebook.postgres.connection import PooledConnection
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.loops import run_every

SERVICE = OFFER_SETTLED.publisher
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
INSERT_PERFORMED = text("INSERT INTO performed (id, operation) VALUES (:id, :operation) ON CONFLICT (id) DO NOTHING")
RELEASE_INTERVAL_S = 0.2


class ProducerWork(SqlUnitOfWork):
    """State and message of one operation, in one transaction. Ends the process right before the commit."""

    def __init__(self, connection: PooledConnection, crash_plan: CrashPlan, operation: str) -> None:
        super().__init__(connection)
        self._crash_plan = crash_plan
        self._operation = operation

    async def perform(self, key: str) -> HandlerResult:
        await self._execute(INSERT_PERFORMED, id=f"{self._operation}.{key}", operation=self._operation)
        told = OfferSettled(booking_id=self._operation, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED)
        return HandlerResult(events=(OFFER_SETTLED.new_event(told, key=key),))

    async def flush(self, handoff: Handoff | None = None) -> None:
        await super().flush(handoff)
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_COMMIT, self._operation)


class CrashingPublisher(Publisher):
    """Publishes. Ends the process right before that, or once the broker has confirmed and the outbox does not know."""

    def __init__(self, publisher: Publisher, crash_plan: CrashPlan) -> None:
        self._publisher = publisher
        self._crash_plan = crash_plan

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        operation = message.headers["ce-subject"]
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_PUBLISH, operation)
        await self._publisher.publish(exchange, routing_key, message, expires_at=expires_at)
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_MARK, operation)


class WaitableOutbox(SqlOutbox):
    """Lets the producer wait for its rows."""

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        super().__init__(engine, owner)
        self._row_marked = asyncio.Event()

    async def mark_sent(self, seqs: Collection[int]) -> None:
        await super().mark_sent(seqs)
        self._row_marked.set()

    async def wait_until_empty(self) -> None:
        """Returns once no row waits."""
        self._row_marked.clear()
        while (await self.read_depth()).waiting:
            await self._row_marked.wait()
            self._row_marked.clear()


@dataclass(frozen=True, slots=True)
class PerformOperation:
    """Command: write the operation's effect and its event, whose id is ``key``; empty: derived from the operation."""

    key: str


async def perform_operation(_: HandlerContext, command: PerformOperation, work: ProducerWork) -> HandlerResult:
    return await work.perform(command.key)


class ExactlyOnceProducer:
    def __init__(self, context: WorkerContext, crash_plan: CrashPlan) -> None:
        self._context = context
        self._crash_plan = crash_plan
        url = context.settings.database_url
        owner = f"prebook-{SERVICE} relay {uuid4().hex[:12]}"
        self._engine = create_engine(SERVICE, url)
        self._publisher = RabbitPublisher(context.settings.amqp_url, SERVICE)
        self._outbox = WaitableOutbox(self._engine, owner)
        self._channels = one_way_channels(CrashingPublisher(self._publisher, crash_plan))
        self._relay = Relay(self._outbox, NullObserver())
        self._wakeup = RelayNotifier(SERVICE, url, owner, self._relay)

    async def run(self) -> None:
        acknowledged = set(self._crash_plan.read_progress())
        async with run_in_background(
            self._publisher.connection.run(),
            self._wakeup.run(),
            self._release_leases(),
            self._relay.run(self._gateway("").dispatch),
        ):
            await self._publisher.connection.up.wait()
            for operation in self._crash_plan.operations:
                if operation not in acknowledged:
                    await self._perform(operation)
                    self._crash_plan.record_progress(operation)
            await self._perform(self._crash_plan.cell.sentinel_operation)
        await self._engine.dispose()

    async def _perform(self, operation: str) -> None:
        """Returns once the message is handed over and marked: every crash leaves this one operation unacknowledged."""
        key = "" if self._crash_plan.cell.dedup else uuid4().hex
        thread = MessageContext(operation, PLAN, trace.new_traceparent(), utc_now())
        await self._gateway(operation).execute(PerformOperation(key), thread)
        await self._outbox.wait_until_empty()

    def _gateway(self, operation: str) -> MessagingGateway[ProducerWork]:
        begin = unit_of_work_factory(
            self._engine,
            lambda connection: ProducerWork(connection, self._crash_plan, operation),
            self._wakeup.hand_off,
        )
        handlers: Handlers[ProducerWork] = Handlers(on_command={PerformOperation: HandlerSpec(perform_operation)})
        return create_gateway(SERVICE, handlers, UnitsOfWork.of_one(begin), self._channels, self._context.policies)

    async def _release_leases(self) -> None:
        """As a service does it: what the crashed process had claimed need not wait for its lease."""
        await run_every(RELEASE_INTERVAL_S, self._outbox.release_orphaned)


def run(spec: CrashWorkerSpec) -> None:
    worker.run_worker(SERVICE, spec, lambda context: ExactlyOnceProducer(context, spec.crash_plan).run())
