"""Producer of the exactly-once experiment: performs operations for a caller who repeats unacknowledged ones."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.coupling.ports import Publisher
from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.events import PLAN, offer_settled
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
from prebook.patterns.trace import TraceContext
from prebook.postgres.connection import PooledConnection
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.loops import run_every

SERVICE = OFFER_SETTLED.publisher

INSERT_PERFORMED = text("INSERT INTO performed (id, operation) VALUES (:id, :operation) ON CONFLICT (id) DO NOTHING")
RELEASE_INTERVAL_S = 0.2


class ProducerWork(SqlUnitOfWork):
    """Unit of work for state and message of one operation; crashes right before the commit if planned."""

    def __init__(self, connection: PooledConnection, crash_plan: CrashPlan, operation: str) -> None:
        super().__init__(connection)
        self._crash_plan = crash_plan
        self._operation = operation

    async def perform(self, key: str) -> HandlerResult:
        """Insert the operation's row and return its event, whose message id depends on ``key``."""
        await self._execute(INSERT_PERFORMED, id=f"{self._operation}.{key}", operation=self._operation)
        return HandlerResult(events=(OFFER_SETTLED.new_event(offer_settled(self._operation), key=key),))

    async def flush(self, handoff: Handoff | None = None) -> None:
        """Flush the pending writes, then crash if planned."""
        await super().flush(handoff)
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_COMMIT, self._operation)


class CrashingPublisher(Publisher):
    """Publisher that crashes, if planned, before publishing, or after the confirm and before the row is marked."""

    def __init__(self, publisher: Publisher, crash_plan: CrashPlan) -> None:
        self._publisher = publisher
        self._crash_plan = crash_plan

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish a message, with planned crashes before and after."""
        operation = message.headers["ce-subject"]
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_PUBLISH, operation)
        await self._publisher.publish(exchange, routing_key, message, expires_at=expires_at)
        self._crash_plan.crash_if_planned(CrashPoint.BEFORE_MARK, operation)


class WaitableOutbox(SqlOutbox):
    """Outbox that can be awaited until it is empty."""

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        super().__init__(engine, owner)
        self._row_marked = asyncio.Event()

    async def mark_sent(self, seqs: Collection[int]) -> None:
        """Mark rows as sent and wake ``wait_until_empty``."""
        await super().mark_sent(seqs)
        self._row_marked.set()

    async def wait_until_empty(self) -> None:
        """Return once no row waits to be sent."""
        self._row_marked.clear()
        while (await self.read_depth()).waiting:
            await self._row_marked.wait()
            self._row_marked.clear()


@dataclass(frozen=True, slots=True)
class PerformOperation:
    """Command to perform an operation; its message id is derived from ``key``, or from the operation if it is empty."""

    key: str


async def perform_operation(_: HandlerContext, command: PerformOperation, work: ProducerWork) -> HandlerResult:
    """Handle the command."""
    return await work.perform(command.key)


class ExactlyOnceProducer:
    """Performs all operations of a crash plan, each until its message is sent and marked."""

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
        """Perform all operations that are not acknowledged yet, and then the sentinel operation."""
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
        """Perform one operation until its message is marked as sent: a crash leaves at most this one unacknowledged."""
        key = "" if self._crash_plan.cell.dedup else uuid4().hex
        context = MessageContext(operation, PLAN, TraceContext().child(), utc_now())
        await self._gateway(operation).execute(PerformOperation(key), context)
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
        """Release rows that the crashed process had leased, as every service does, instead of waiting for expiry."""
        await run_every(RELEASE_INTERVAL_S, self._outbox.release_orphaned)


def run(spec: CrashWorkerSpec) -> None:
    """Entry point of the producer process."""
    worker.run_worker(SERVICE, spec, lambda context: ExactlyOnceProducer(context, spec.crash_plan).run())
