"""The consumer of an experiment on poison: the suite's own, with an effect that is one row and a time that is noted."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.poison.messages import POISON
from prebook.lab.experiments.poison.model import BACKOFF_S, MAX_ATTEMPTS, PREFETCH, PoisonLoad
from prebook.lab.experiments.worker import WorkerContext, one_way_channels
from prebook.messaging.envelope import Envelope
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import FlowPolicy, Policies
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher

(SERVICE,) = OFFER_SETTLED.subscribers
READY = "ready"
INSERT_HANDLED = text("INSERT INTO handled (run, message) VALUES (:run, :message)")


class PoisonWorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """``amqp_url`` is the broker's. ``progress_path`` gets a line for each message, once it is handled or tried."""

    load: PoisonLoad
    run: str
    queue: str
    amqp_url: str
    env: Mapping[str, str]
    progress_path: str
    log_file: str

    def __repr__(self) -> str:
        return "PoisonWorkerSpec(<not printed: it holds secrets>)"


class PoisonWork(SqlUnitOfWork):
    async def insert_handled(self, run: str, message: str) -> None:
        await self._execute(INSERT_HANDLED, run=run, message=message)


class PoisonFailure(Exception):
    """As the experiment wants it."""


class PoisonConsumer:
    def __init__(self, context: WorkerContext, spec: PoisonWorkerSpec) -> None:
        self._run_name = spec.run
        self._engine = create_engine(SERVICE, context.settings.database_url)
        self._publisher = RabbitPublisher(spec.amqp_url, SERVICE)
        policies = with_short_retries(context.policies)
        handlers: Handlers[PoisonWork] = Handlers(on_event={OFFER_SETTLED: HandlerSpec(self._handle)})
        begin = unit_of_work_factory(self._engine, PoisonWork)
        self._gateway = create_gateway(
            SERVICE, handlers, UnitsOfWork.of_one(begin), one_way_channels(self._publisher), policies
        )
        self._consumer = RabbitConsumer(
            spec.amqp_url,
            SERVICE,
            {spec.queue: PREFETCH},
            self._receive,
            publisher=self._publisher,
            policies=policies,
            observer=NullObserver(),
        )
        self._progress_file = Path(spec.progress_path).open("a", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def run(self) -> None:
        """Until it is killed."""
        async with run_in_background(self._publisher.connection.run(), self._consumer.connection.run()):
            for link in (self._publisher.connection, self._consumer.connection):
                await link.up.wait()
            self._record_progress(READY)
            await asyncio.Event().wait()

    async def _receive(self, envelope: Envelope) -> None:
        """Noted when its effect is committed; poison when it is tried."""
        if envelope.conversation_id == POISON:
            self._record_progress(POISON)
        await self._gateway.process(envelope)
        self._record_progress(envelope.conversation_id)

    def _record_progress(self, what: str) -> None:
        self._progress_file.write(f"{what} {time.time()}\n")

    async def _handle(self, context: HandlerContext, _: Any, work: PoisonWork) -> HandlerResult:
        await work.insert_handled(self._run_name, context.conversation_id)
        if context.conversation_id == POISON:
            raise PoisonFailure("so that it is poison")
        return HandlerResult()


def with_short_retries(policies: Policies) -> dict[str, FlowPolicy]:
    """With the experiment's attempts and pause for every flow."""
    return {
        name: msgspec.structs.replace(policy, max_attempts=MAX_ATTEMPTS, backoff_s=(BACKOFF_S,))
        for name, policy in policies.items()
    }


def run(spec: PoisonWorkerSpec) -> None:
    """It works while all is said, then until all is done, and then until what is parked is found."""
    timeout_s = worker.WORKER_TIMEOUT_S + spec.load.duration_s + 2 * spec.load.timeout_s
    worker.run_worker(SERVICE, spec, lambda context: PoisonConsumer(context, spec).run(), timeout_s=timeout_s)
