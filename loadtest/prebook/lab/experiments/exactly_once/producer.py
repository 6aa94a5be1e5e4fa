"""The producer: performs operations for a caller who repeats what he has no acknowledgement of."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.coupling.ports import Publisher
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments import worker
from prebook.lab.experiments.exactly_once.crash_matrix import CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import Errand, Life
from prebook.lab.experiments.worker import Ground, beside, channels
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import Wire
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.handlers import Handlers, Outcome
from prebook.messaging.observer import Unwatched
from prebook.messaging.outbox.handoff import Handover
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.staging import Thread
from prebook.patterns import trace
from prebook.postgres.connection import Session
from prebook.postgres.engine import engine_for
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import Wakeup
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.loops import every

SERVICE = OFFER_SETTLED.publisher
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
PERFORM = text("INSERT INTO performed (id, operation) VALUES (:id, :operation) ON CONFLICT (id) DO NOTHING")
RELEASE_EVERY_S = 0.2


class Performing(SqlWork):
    """State and message of one operation, in one transaction. Ends the process right before the commit."""

    def __init__(self, connection: Session, errand: Errand, operation: str) -> None:
        super().__init__(connection)
        self._errand, self._operation = errand, operation

    async def perform(self, key: str) -> Outcome:
        await self._run(PERFORM, id=f"{self._operation}.{key}", operation=self._operation)
        told = OfferSettled(booking_id=self._operation, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED)
        return Outcome(facts=(OFFER_SETTLED.fact(told, key=key),))

    async def leave(self, handover: Handover | None = None) -> None:
        await super().leave(handover)
        self._errand.reached(CrashPoint.BEFORE_COMMIT, self._operation)


class Publishing(Publisher):
    """Publishes. Ends the process right before that, or once the broker has confirmed and the outbox does not know."""

    def __init__(self, publisher: Publisher, errand: Errand) -> None:
        self._publisher, self._errand = publisher, errand

    async def publish(self, exchange: str, key: str, wire: Wire, *, expires_at: datetime | None = None) -> None:
        operation = wire.headers["ce-subject"]
        self._errand.reached(CrashPoint.BEFORE_PUBLISH, operation)
        await self._publisher.publish(exchange, key, wire, expires_at=expires_at)
        self._errand.reached(CrashPoint.BEFORE_MARK, operation)


class Marking(SqlOutbox):
    """Lets the producer wait for its rows."""

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        super().__init__(engine, owner)
        self._marked = asyncio.Event()

    async def sent(self, seqs: Collection[int]) -> None:
        await super().sent(seqs)
        self._marked.set()

    async def emptied(self) -> None:
        """Returns once no row waits."""
        self._marked.clear()
        while (await self.depth()).waiting:
            await self._marked.wait()
            self._marked.clear()


class Producer:
    def __init__(self, ground: Ground, errand: Errand) -> None:
        self._ground, self._errand = ground, errand
        url, owner = ground.settings.database_url, f"prebook-{SERVICE} relay {uuid4().hex[:12]}"
        self._engine = engine_for(SERVICE, url)
        self._publisher = RabbitPublisher(ground.settings.amqp_url, SERVICE)
        self._outbox, self._channels = Marking(self._engine, owner), channels(Publishing(self._publisher, errand))
        self._relay = Relay(self._outbox, lambda row: self._endpoint("").dispatch(row.envelope), Unwatched())
        self._wakeup = Wakeup(SERVICE, url, owner, self._relay)

    async def work(self) -> None:
        acknowledged = set(self._errand.noted())
        async with beside(self._publisher.link.run, self._wakeup.run, self._released, self._relay.run):
            await self._publisher.link.up.wait()
            for operation in self._errand.operations:
                if operation not in acknowledged:
                    await self._perform(operation)
                    self._errand.note(operation)
            await self._perform(self._errand.cell.closing)
        await self._engine.dispose()

    async def _perform(self, operation: str) -> None:
        """Returns once the message is handed over and marked: every crash leaves this one operation unacknowledged."""
        key = "" if self._errand.cell.dedup else uuid4().hex
        thread = Thread(operation, PLAN, trace.started(), utc_now())
        await self._endpoint(operation).act(thread, lambda work: work.perform(key))
        await self._outbox.emptied()

    def _endpoint(self, operation: str) -> Endpoint[Performing]:
        begin = units_of_work(
            self._engine, lambda connection: Performing(connection, self._errand, operation), self._wakeup.taking
        )
        handlers: Handlers[Performing] = Handlers()
        return Endpoint(SERVICE, handlers, begin, self._channels, self._ground.policies)

    async def _released(self) -> None:
        """As a service does it: what the crashed process had claimed need not wait for its lease."""
        await every(RELEASE_EVERY_S, self._outbox.release)


def live(life: Life) -> None:
    worker.live(SERVICE, life, lambda ground: Producer(ground, life.errand).work())
