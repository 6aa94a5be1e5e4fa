"""Consumer process of the ordering experiment: the suite's consumer with an effect that is one database row."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg
import msgspec
from sqlalchemy import text

from prebook.contracts.events import OfferSettled
from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.ordering.strategies import OrderingLoad, OrderingStrategy
from prebook.lab.experiments.worker import WorkerContext, one_way_channels
from prebook.messaging.envelope import Envelope
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.recoverability.key_sequencer import KeySequencer
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.replicas import read_live_replicas
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.rabbit.partition_balancer import PartitionBalancer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.loops import run_forever
from prebook.topology.sender_check import accept_any_sender

(SERVICE,) = OFFER_SETTLED.subscribers
READY = "ready"
BALANCE_INTERVAL_S = 0.25
"""Shorter than in a service, because a run takes seconds."""
INSERT_APPLIED = text("INSERT INTO applied (run, key, position) VALUES (:run, :key, :position)")
INSERT_FAILED = text("INSERT INTO failed (run, key, position) VALUES (:run, :key, :position)")


class OrderingWorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one consumer process: its number and the run it belongs to."""

    strategy: OrderingStrategy
    load: OrderingLoad
    run: str
    consumer_number: int
    amqp_url: str
    env: Mapping[str, str]
    progress_path: str
    log_file: str

    def __repr__(self) -> str:
        return "OrderingWorkerSpec(<not printed: it holds secrets>)"


class OrderingWork(SqlUnitOfWork):
    """Unit of work that stores the effect of a message."""

    async def insert_applied(self, run: str, key: str, position: int) -> None:
        """Insert the effect of one message."""
        await self._execute(INSERT_APPLIED, run=run, key=key, position=position)


class FirstAttemptFailure(Exception):
    """Intended failure of a message on its first attempt."""


class OrderingConsumer:
    """The suite's consumer, arranged by a strategy, with intended failures."""

    def __init__(self, context: WorkerContext, spec: OrderingWorkerSpec) -> None:
        self._spec = spec
        self._failing = spec.load.failing_messages()
        self._engine = create_engine(SERVICE, context.settings.database_url)
        publisher = RabbitPublisher(spec.amqp_url, SERVICE)
        observer = NullObserver()
        inbound = spec.strategy.inbound
        handlers: Handlers[OrderingWork] = Handlers(
            on_event={OFFER_SETTLED: HandlerSpec(self._apply, self._simulate_work)}
        )
        begin = unit_of_work_factory(self._engine, OrderingWork)
        self._gateway = create_gateway(
            SERVICE, handlers, UnitsOfWork.of_one(begin), one_way_channels(publisher), context.policies
        )
        self._sequencer = KeySequencer(
            inbound.group_by_partition,
            SqlBlockedKeys(self._engine),
            self._receive,
            dead_letter=DeadLetterPublisher(publisher, observer).dead_letter_blocked,
            policies=context.policies,
            observer=observer,
        )
        self._name = f"lab-{spec.run}-{spec.consumer_number}"
        self._consumer = RabbitConsumer(
            spec.amqp_url,
            SERVICE,
            inbound.prefetch_by_queue,
            self._receive,
            publisher=publisher,
            policies=context.policies,
            observer=observer,
            check_sender=accept_any_sender,
            sequencer=self._sequencer,
        )
        self._publisher = publisher
        self._database_url = context.settings.database_url
        self._balancer = PartitionBalancer(
            self._consumer, inbound.group_by_partition, self._name, self._read_live_replicas, BALANCE_INTERVAL_S
        )
        self._progress_file = Path(spec.progress_path).open("a", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def run(self) -> None:
        """Consume until the process is killed."""
        registration = await asyncpg.connect(
            asyncpg_dsn(self._database_url), server_settings={"application_name": self._name}
        )
        loops = {"key_sequencer": self._sequencer.run, "partition_balancer": self._balancer.run}
        async with run_in_background(
            self._publisher.connection.run(),
            self._consumer.connection.run(),
            *(run_forever(*loop) for loop in loops.items()),
        ):
            await self._consumer.connection.up.wait()
            self._progress_file.write(f"{READY}\n")
            await asyncio.Event().wait()
        await registration.close()

    async def _read_live_replicas(self) -> Sequence[str]:
        return await read_live_replicas(self._engine, f"lab-{self._spec.run}-")

    async def _receive(self, envelope: Envelope) -> None:
        event = envelope.body
        assert isinstance(event, OfferSettled)  # noqa: S101 - the only event of the experiment
        self._progress_file.write(f"{envelope.id}\n")
        if envelope.attempt == 1 and f"{event.booking_id} {event.driver}" in self._failing:
            await self._fail(event)
        await self._gateway.process(envelope)

    async def _fail(self, event: OfferSettled) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(
                INSERT_FAILED, {"run": self._spec.run, "key": event.booking_id, "position": int(event.driver)}
            )
        raise FirstAttemptFailure("intended failure of the first attempt")

    async def _simulate_work(self, _: HandlerContext, event: OfferSettled) -> OfferSettled:
        """Sleep for a random time, as a call to another service would take."""
        await asyncio.sleep(random.uniform(0.0, self._spec.load.work_ms / 1000))
        return event

    async def _apply(self, _: HandlerContext, event: OfferSettled, work: OrderingWork) -> HandlerResult:
        await work.insert_applied(self._spec.run, event.booking_id, int(event.driver))
        return HandlerResult()


def run(spec: OrderingWorkerSpec) -> None:
    """Entry point of a consumer process. Its time limit covers the wait for the kill and the wait for all effects."""
    timeout_s = worker.WORKER_TIMEOUT_S + 2 * spec.load.timeout_s
    worker.run_worker(SERVICE, spec, lambda context: OrderingConsumer(context, spec).run(), timeout_s=timeout_s)
