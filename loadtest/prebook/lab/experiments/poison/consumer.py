"""Consumer process of the poison experiment: the suite's consumer, with one row per effect and recorded times."""

import asyncio
import os
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
from prebook.topology.sender_check import accept_any_sender

(SERVICE,) = OFFER_SETTLED.subscribers
READY = "ready"
INSERT_HANDLED = text("INSERT INTO handled (run, message) VALUES (:run, :message)")


class PoisonWorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one consumer process; the file at ``progress_path`` gets a line for each handled message."""

    load: PoisonLoad
    run: str
    queue: str
    amqp_url: str
    env: Mapping[str, str]
    progress_path: str
    log_file: str
    crashes: bool = False
    """Whether the poison message ends the process."""

    def __repr__(self) -> str:
        return "PoisonWorkerSpec(<not printed: it holds secrets>)"


class PoisonWork(SqlUnitOfWork):
    """Unit of work that stores the effect of a message."""

    async def insert_handled(self, run: str, message: str) -> None:
        """Insert the effect of one message."""
        await self._execute(INSERT_HANDLED, run=run, message=message)


class PoisonFailure(Exception):
    """Intended failure of the poison message."""


class PoisonConsumer:
    """The suite's consumer on one queue, with short retries."""

    def __init__(self, context: WorkerContext, spec: PoisonWorkerSpec) -> None:
        self._run_name = spec.run
        self._crashes = spec.crashes
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
            check_sender=accept_any_sender,
        )
        self._progress_file = Path(spec.progress_path).open("a", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def run(self) -> None:
        """Consume until the process is killed."""
        async with run_in_background(self._publisher.connection.run(), self._consumer.connection.run()):
            for connection in (self._publisher.connection, self._consumer.connection):
                await connection.up.wait()
            self._record_progress(READY)
            await asyncio.Event().wait()

    async def _receive(self, envelope: Envelope) -> None:
        """Handle a message and record when its effect is committed; record poison at every attempt."""
        if envelope.conversation_id == POISON:
            self._record_progress(POISON)
            if self._crashes:
                os._exit(1)
        await self._gateway.process(envelope)
        self._record_progress(envelope.conversation_id)

    def _record_progress(self, name: str) -> None:
        self._progress_file.write(f"{name} {time.time()}\n")

    async def _handle(self, context: HandlerContext, _: Any, work: PoisonWork) -> HandlerResult:
        await work.insert_handled(self._run_name, context.conversation_id)
        if context.conversation_id == POISON:
            raise PoisonFailure("intended failure of the poison message")
        return HandlerResult()


def with_short_retries(policies: Policies) -> dict[str, FlowPolicy]:
    """Return the policies with MAX_ATTEMPTS and BACKOFF_S for every flow."""
    return {
        name: msgspec.structs.replace(policy, max_attempts=MAX_ATTEMPTS, backoff_s=(BACKOFF_S,))
        for name, policy in policies.items()
    }


def run(spec: PoisonWorkerSpec) -> None:
    """Entry point of a consumer process. Its time limit covers publishing, handling and parking."""
    timeout_s = worker.WORKER_TIMEOUT_S + spec.load.duration_s + 2 * spec.load.timeout_s
    worker.run_worker(SERVICE, spec, lambda context: PoisonConsumer(context, spec).run(), timeout_s=timeout_s)
