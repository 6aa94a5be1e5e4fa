"""The consumer: an operation's effect is one row, and the rows are counted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments import worker
from prebook.lab.experiments.exactly_once.crash_matrix import CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import Errand, Life
from prebook.lab.experiments.worker import Ground, beside, channels
from prebook.messaging import addresses
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.messaging.observer import Unwatched
from prebook.postgres.engine import engine_for
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher

(SERVICE,) = OFFER_SETTLED.subscribers
QUEUES = {addresses.fact_queue(SERVICE): 1}
"""One at a time: what is told last is then handled last, a message that comes again included."""
EFFECT = text("INSERT INTO effect (operation) VALUES (:operation)")


class Admitting(SqlWork):
    """Inbox on."""

    async def take_effect(self, operation: str) -> None:
        await self._run(EFFECT, operation=operation)


class Forgetful(Admitting):
    """Inbox off: whatever comes is new."""

    async def admit(self, envelope: Envelope) -> bool:  # noqa: ARG002 - the port's signature
        return True


WORKS: Mapping[bool, type[Admitting]] = {True: Admitting, False: Forgetful}


async def settled(context: Context, _: Any, work: Admitting) -> Outcome:
    await work.take_effect(context.conversation)
    return Outcome()


class Consumer:
    """Ends when the closing message has had its effect. Ends the process between an effect and its acknowledgement."""

    def __init__(self, ground: Ground, errand: Errand) -> None:
        self._errand, self._closed = errand, asyncio.Event()
        self._engine = engine_for(SERVICE, ground.settings.database_url)
        self._publisher = RabbitPublisher(ground.settings.amqp_url, SERVICE)
        begin = units_of_work(self._engine, WORKS[errand.cell.inbox])
        handlers: Handlers[Admitting] = Handlers(hears={OFFER_SETTLED: Step(settled)})
        self._endpoint = Endpoint(SERVICE, handlers, begin, channels(self._publisher), ground.policies)
        self._consumer = RabbitConsumer(
            ground.settings.amqp_url,
            SERVICE,
            QUEUES,
            self._door,
            publisher=self._publisher,
            policies=ground.policies,
            watch=Unwatched(),
        )

    async def work(self) -> None:
        async with beside(self._publisher.link.run, self._consumer.link.run):
            await self._closed.wait()
            await self._consumer.stop()
        await self._engine.dispose()

    async def _door(self, envelope: Envelope) -> None:
        operation = envelope.conversation
        self._errand.note(operation)
        await self._endpoint.receive(envelope)
        self._errand.reached(CrashPoint.BEFORE_ACK, operation)
        if operation == self._errand.cell.closing:
            self._closed.set()


def live(life: Life) -> None:
    worker.live(SERVICE, life, lambda ground: Consumer(ground, life.errand).work())
