"""One consumer of an experiment on order: the suite's own consumer, with an effect that is written down."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import asyncpg
import msgspec
from sqlalchemy import text

from prebook.contracts.events import OfferSettled
from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments import worker
from prebook.lab.experiments.ordering.strategies import Arrangement, Load
from prebook.lab.experiments.worker import Ground, beside, channels
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.messaging.observer import Unwatched
from prebook.messaging.recoverability.key_sequencer import Ordering
from prebook.postgres.blocked_keys import SqlHolds
from prebook.postgres.engine import engine_for
from prebook.postgres.replicas import roster
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.dead_letter_publisher import Aside
from prebook.rabbit.partition_balancer import Balance
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.loops import for_ever

(SERVICE,) = OFFER_SETTLED.subscribers
READY = "ready"
BALANCE_EVERY_S = 0.25
"""Often, since a run takes seconds."""
APPLY = text("INSERT INTO applied (run, key, place) VALUES (:run, :key, :place)")
FAIL = text("INSERT INTO failed (run, key, place) VALUES (:run, :key, :place)")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One process: which consumer of which run. ``url`` is the broker's."""

    arrangement: Arrangement
    load: Load
    run: str
    number: int
    url: str
    env: Mapping[str, str]
    notes: str
    log: str

    def __repr__(self) -> str:
        return "Part(<not printed: it holds secrets>)"


class Applying(SqlWork):
    async def applied(self, run: str, key: str, place: int) -> None:
        await self._run(APPLY, run=run, key=key, place=place)


class FailsAtFirst(Exception):
    """As the experiment wants it."""


class OrderConsumer:
    def __init__(self, ground: Ground, part: Part) -> None:
        self._part, self._failing = part, part.load.failures()
        self._engine = engine_for(SERVICE, ground.settings.database_url)
        publisher, watch, inbound = RabbitPublisher(part.url, SERVICE), Unwatched(), part.arrangement.inbound
        handlers: Handlers[Applying] = Handlers(hears={OFFER_SETTLED: Step(self._settled, self._worked)})
        begin = units_of_work(self._engine, Applying)
        self._endpoint = Endpoint(SERVICE, handlers, begin, channels(publisher), ground.policies)
        self._order = Ordering(
            inbound.groups,
            SqlHolds(self._engine),
            self._door,
            aside=Aside(publisher, watch).park_held,
            policies=ground.policies,
            watch=watch,
        )
        self._name = f"lab-{part.run}-{part.number}"
        self._consumer = RabbitConsumer(
            part.url,
            SERVICE,
            inbound.queues,
            self._door,
            publisher=publisher,
            policies=ground.policies,
            watch=watch,
            order=self._order,
        )
        self._publisher, self._url = publisher, ground.settings.database_url
        self._balance = Balance(self._consumer, inbound.groups, self._name, self._replicas, BALANCE_EVERY_S)
        self._notes = Path(part.notes).open("a", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def work(self) -> None:
        """Until it is killed."""
        listed = await asyncpg.connect(
            self._url.replace("postgresql+asyncpg://", "postgresql://", 1),
            server_settings={"application_name": self._name},
        )
        loops = {"order": self._order.run, "balance": self._balance.run}
        async with beside(
            self._publisher.link.run, self._consumer.link.run, *(partial(for_ever, *loop) for loop in loops.items())
        ):
            await self._consumer.link.up.wait()
            self._notes.write(f"{READY}\n")
            await asyncio.Event().wait()
        await listed.close()

    async def _replicas(self) -> Sequence[str]:
        return await roster(self._engine, f"lab-{self._part.run}-")

    async def _door(self, envelope: Envelope) -> None:
        told = envelope.body
        assert isinstance(told, OfferSettled)  # noqa: S101 - the experiment says nothing else
        self._notes.write(f"{envelope.id}\n")
        if envelope.attempt == 1 and f"{told.booking_id} {told.driver}" in self._failing:
            await self._fail(told)
        await self._endpoint.receive(envelope)

    async def _fail(self, told: OfferSettled) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(FAIL, {"run": self._part.run, "key": told.booking_id, "place": int(told.driver)})
        raise FailsAtFirst("so that there is something to try again")

    async def _worked(self, _: Context, told: OfferSettled) -> OfferSettled:
        """Some call to the outside, that takes its time."""
        await asyncio.sleep(random.uniform(0.0, self._part.load.work_ms / 1000))
        return told

    async def _settled(self, _: Context, told: OfferSettled, work: Applying) -> Outcome:
        await work.applied(self._part.run, told.booking_id, int(told.driver))
        return Outcome()


def live(part: Part) -> None:
    """It works until the consumer to be killed is, and then until all is done."""
    within_s = worker.WITHIN_S + 2 * part.load.within_s
    worker.live(SERVICE, part, lambda ground: OrderConsumer(ground, part).work(), within_s=within_s)
