"""Sender in the lab's process: outbox and relay of a service, and the end of its deduplication window."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prebook.coupling.one_way import OneWay
from prebook.coupling.ports import BROKER_ROUTE, Publisher
from prebook.devstack.polling import wait_until
from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.testbed import RETRY_HINT
from prebook.messaging.envelope import message_id
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import PURGE_SENT, Purger, PurgeRule
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory

SERVICE = OFFER_SETTLED.publisher
OWNER = "prebook-lab relay"
WAIT_TIMEOUT_S = 120.0


class WindowedSender:
    """Sends messages through an outbox, which knows the id of each one until its row is purged."""

    def __init__(self, database_url: str, publisher: Publisher) -> None:
        self._engine = create_engine(SERVICE, database_url)
        self._outbox = SqlOutbox(self._engine, OWNER)
        self._purger = Purger(self._engine, [PurgeRule(PURGE_SENT, 0.0)])
        self._relay = Relay(self._outbox, NullObserver())
        self._begin = unit_of_work_factory(self._engine, SqlUnitOfWork, self._relay.hand_off)
        self._channel = OneWay(publisher)
        self.published = 0
        """Number of messages that were given to the broker."""

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """Run the relay while the block runs, and close the connections to the database after it."""
        async with run_in_background(self._relay.run(self._publish)):
            yield
        await self._engine.dispose()

    async def send(self, names: Sequence[str], run: str) -> None:
        """Perform operations that send a message each, with ids by name and run; return once the relay is done."""
        async with self._begin() as work:
            await work.enqueue([_message(name, run) for name in names])

        async def is_sent() -> bool:
            return not (await self._outbox.read_depth()).waiting

        await wait_until(is_sent, WAIT_TIMEOUT_S, subject="the relay", remedy=RETRY_HINT)

    async def end_window(self) -> None:
        """Purge the rows of sent messages, as the service does once its deduplication window has passed."""
        await self._purger.purge_due()

    async def _publish(self, row: LeasedRow) -> None:
        await self._channel.send(row.envelope)
        self.published += 1


def _message(name: str, run: str) -> OutboxMessage:
    envelope = offer_settled_envelope(
        message_id(name, OFFER_SETTLED.name, run), offer_settled(name), conversation_id=name
    )
    return OutboxMessage(envelope, BROKER_ROUTE, name)
