"""The consumer of an experiment on poison: the suite's own, with an effect that is one row and a time that is noted."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments import worker
from prebook.lab.experiments.poison.messages import POISON
from prebook.lab.experiments.poison.model import ATTEMPTS, PAUSE_S, PREFETCH, Load
from prebook.lab.experiments.worker import Ground, beside, channels
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.messaging.observer import Unwatched
from prebook.messaging.policy import FlowPolicy, Policies
from prebook.postgres.engine import engine_for
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher

(SERVICE,) = OFFER_SETTLED.subscribers
READY = "ready"
TAKE = text("INSERT INTO taken (run, message) VALUES (:run, :message)")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` is the broker's. ``notes``: a line for each message that was handled or tried, as soon as it was."""

    load: Load
    run: str
    queue: str
    url: str
    env: Mapping[str, str]
    notes: str
    log: str

    def __repr__(self) -> str:
        return "Part(<not printed: it holds secrets>)"


class Taking(SqlWork):
    async def take(self, run: str, message: str) -> None:
        await self._run(TAKE, run=run, message=message)


class AlwaysFails(Exception):
    """As the experiment wants it."""


class PoisonConsumer:
    def __init__(self, ground: Ground, part: Part) -> None:
        self._run, self._engine = part.run, engine_for(SERVICE, ground.settings.database_url)
        self._publisher, watch, policies = RabbitPublisher(part.url, SERVICE), Unwatched(), hurried(ground.policies)
        handlers: Handlers[Taking] = Handlers(hears={OFFER_SETTLED: Step(self._settled)})
        begin = units_of_work(self._engine, Taking)
        self._endpoint = Endpoint(SERVICE, handlers, begin, channels(self._publisher), policies)
        self._consumer = RabbitConsumer(
            part.url,
            SERVICE,
            {part.queue: PREFETCH},
            self._door,
            publisher=self._publisher,
            policies=policies,
            watch=watch,
        )
        self._notes = Path(part.notes).open("a", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def work(self) -> None:
        """Until it is killed."""
        async with beside(self._publisher.link.run, self._consumer.link.run):
            for link in (self._publisher.link, self._consumer.link):
                await link.up.wait()
            self._note(READY)
            await asyncio.Event().wait()

    async def _door(self, envelope: Envelope) -> None:
        """Noted when its effect is committed; poison when it is tried."""
        if envelope.conversation == POISON:
            self._note(POISON)
        await self._endpoint.receive(envelope)
        self._note(envelope.conversation)

    def _note(self, what: str) -> None:
        self._notes.write(f"{what} {time.time()}\n")

    async def _settled(self, context: Context, _: Any, work: Taking) -> Outcome:
        await work.take(self._run, context.conversation)
        if context.conversation == POISON:
            raise AlwaysFails("so that it is poison")
        return Outcome()


def hurried(policies: Policies) -> dict[str, FlowPolicy]:
    """With the experiment's attempts and pause for every flow."""
    return {
        name: msgspec.structs.replace(policy, max_attempts=ATTEMPTS, backoff_s=(PAUSE_S,))
        for name, policy in policies.items()
    }


def live(part: Part) -> None:
    """It works while all is said, then until all is done, and then until what is parked is found."""
    within_s = worker.WITHIN_S + part.load.lasts_s + 2 * part.load.within_s
    worker.live(SERVICE, part, lambda ground: PoisonConsumer(ground, part).work(), within_s=within_s)
