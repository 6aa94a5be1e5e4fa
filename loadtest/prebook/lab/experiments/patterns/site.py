"""Parts that all pattern experiments use: receiver processes, messages, effects, and waiting with a deadline."""

import asyncio
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import aio_pika
import asyncpg
from aio_pika.abc import AbstractConnection

from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.flows import OFFER_SETTLED, EventType
from prebook.lab.background import run_in_background
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.experiment import ExperimentRun
from prebook.lab.experiments.forked import log_tails, start_forked
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.receiver import ReceiverSpec
from prebook.lab.experiments.testbed import RETRY_HINT, connect_as_admin
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import message_id
from prebook.rabbit.publisher import RabbitPublisher

SpecT = TypeVar("SpecT", bound="WaitableSpec")
WAIT_TIMEOUT_S = 120.0
"""Seconds within which a condition is met unless something hangs; far longer than on an idle machine."""
QUIET_S = 10.0
PUBLISH_BATCH_SIZE = 50
RECEIVER_SERVICES = ("matching", "pricing", "notification")
"""Services that receivers act as, each with an inbox of its own."""
CREATE_EFFECT = (
    "CREATE TABLE {service}.effect (nr bigint GENERATED ALWAYS AS IDENTITY, run text, receiver text, message text, "
    "at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
SELECT_EFFECTS = " UNION ALL ".join(
    f"SELECT receiver, message, at FROM {service}.effect WHERE run = $1"  # noqa: S608 - a schema
    for service in RECEIVER_SERVICES
)


class WaitableSpec(Protocol):
    """Arguments of a process that says when it consumes."""

    @property
    def is_ready(self) -> bool:
        """Whether the process has said that it consumes."""
        ...

    @property
    def log_file(self) -> str:
        """Path of the file for stdout and stderr."""
        ...

    def clear_ready(self) -> None:
        """Forget an ended process."""
        ...


@dataclass(frozen=True)
class Effect:
    """Effect of a message at a receiver, with the time of the database."""

    receiver: str
    message: str
    at: datetime


class QuietPeriod:
    """Period in which a count does not change: a sign that what is missing will not come."""

    def __init__(self) -> None:
        self._count = 0
        self._since_s = time.monotonic()

    def is_over(self, count: int) -> bool:
        """Return whether ``count`` has been the same for QUIET_S seconds."""
        if count != self._count:
            self._count = count
            self._since_s = time.monotonic()
        return time.monotonic() - self._since_s > QUIET_S


class PatternSite:
    """One pattern experiment's connections to the shared broker and database."""

    def __init__(self, run: ExperimentRun, database: asyncpg.Connection, broker: AbstractConnection) -> None:
        self.run = run
        self.random = random.Random(run.seed)
        self.database = database
        self.broker = broker
        self.amqp_url = run.testbed.stack.broker.amqp_url
        self.publisher = RabbitPublisher(self.amqp_url, "lab")
        self.token = secrets.token_hex(4)
        """Part of all message ids, because the archive keeps those of earlier runs."""
        self._files = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, run: ExperimentRun) -> AsyncIterator[Self]:
        """Connect, and create the tables of effects, which the runner drops."""
        url = run.testbed.stack.broker.amqp_url
        async with connect_as_admin(run.testbed.context.database_url) as database:
            for service in RECEIVER_SERVICES:
                await database.execute(CREATE_EFFECT.format(service=service))
            async with await aio_pika.connect(url) as broker:
                site = cls(run, database, broker)
                async with run_in_background(site.publisher.connection.run()):
                    await site.publisher.connection.up.wait()
                    yield site

    def receiver_spec(self, arrangement: str, queue: str, **changes: Any) -> ReceiverSpec:
        """Return the arguments of a receiver. ``changes``: fields that differ from a plain receiver of matching."""
        self._files += 1
        service = changes.pop("service", RECEIVER_SERVICES[0])
        stem = self.run.testbed.context.work_dir / f"{queue}-{self._files}"
        return ReceiverSpec(
            service=service,
            run=arrangement,
            receiver=changes.pop("receiver", service),
            queue=queue,
            amqp_url=self.amqp_url,
            env=self.run.testbed.context.envs[service],
            ready_path=f"{stem}.ready",
            log_file=f"{stem}.log",
            **changes,
        )

    @asynccontextmanager
    async def receivers(self, *specs: ReceiverSpec) -> AsyncIterator[list[ForkServerProcess]]:
        """Run a receiver process per spec while the block runs, which starts once all are ready. Raises UserError."""
        async with self.processes(receiver.run, *specs) as processes:
            yield processes

    @asynccontextmanager
    async def processes(self, run: Callable[[SpecT], None], *specs: SpecT) -> AsyncIterator[list[ForkServerProcess]]:
        """Run a process per spec while the block runs, which starts once all are ready. Raises UserError."""
        with start_forked(run, specs) as processes:

            async def are_ready() -> bool:
                return all(spec.is_ready for spec in specs)

            await self.wait_until(are_ready, "the processes", specs)
            yield processes
        for spec in specs:
            spec.clear_ready()

    async def publish(
        self, exchange: str, key: str, names: Sequence[str], run: str, *, expires_at: datetime | None = None
    ) -> None:
        """Publish one message for each name, and return once all are confirmed."""
        wires = [message(name, run, self.token) for name in names]
        await self.publish_encoded(exchange, key, wires, expires_at=expires_at)

    async def publish_encoded(
        self, exchange: str, key: str, wires: Sequence[WireMessage], *, expires_at: datetime | None = None
    ) -> None:
        """Publish messages, and return once all are confirmed."""
        for start in range(0, len(wires), PUBLISH_BATCH_SIZE):
            batch = wires[start : start + PUBLISH_BATCH_SIZE]
            await asyncio.gather(
                *(self.publisher.publish(exchange, key, wire, expires_at=expires_at) for wire in batch)
            )

    async def read_effects(self, run: str) -> list[Effect]:
        """Return the effects of a run."""
        return [Effect(**row) for row in await self.database.fetch(SELECT_EFFECTS, run)]

    async def wait_for_effects(self, run: str, names: Iterable[str], share: float, receiver: str = "") -> None:
        """Wait until ``share`` of the messages have an effect, at ``receiver`` if one is given. Raises UserError."""
        expected = frozenset(names)

        async def have_effects() -> bool:
            effects = await self.read_effects(run)
            handled = {each.message for each in effects if receiver in ("", each.receiver)}
            return len(handled & expected) >= share * len(expected)

        await self.wait_until(have_effects, f"{run}: the effects of {share:.0%} of {len(expected)} messages")

    async def wait_until_settled(self, run: str, names: Sequence[str], queue: str, receiver: str = "") -> None:
        """Wait until every message has an effect at ``receiver``, if one is given.

        Where a message is lost, wait until ``queue`` is empty and no effect has been added for QUIET_S seconds.
        """
        quiet = QuietPeriod()

        async def is_settled() -> bool:
            effects = await self.read_effects(run)
            handled = {each.message for each in effects if receiver in ("", each.receiver)}
            if handled.issuperset(names):
                return True
            return quiet.is_over(len(handled)) and not await self.count_ready(queue)

        await self.wait_until(is_settled, f"{run}: the effects of {len(names)} messages")

    async def wait_until_drained(self, run: str, expected: Collection[tuple[str, str]], queues: Sequence[str]) -> None:
        """Wait until the queues are empty and all ``expected`` effects are there, as pairs of receiver and message.

        Where a message is lost, wait until no effect has been added for QUIET_S seconds.
        """
        quiet = QuietPeriod()

        async def is_drained() -> bool:
            found = {(effect.receiver, effect.message) for effect in await self.read_effects(run)}
            is_settled = found.issuperset(expected) or quiet.is_over(len(found))
            return is_settled and not any([await self.count_ready(queue) for queue in queues])

        await self.wait_until(is_drained, f"{run}: the end of the messages")

    async def count_ready(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        channel = await self.broker.channel()
        try:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0
        finally:
            await channel.close()

    async def wait_until(
        self, condition: Callable[[], Awaitable[bool]], subject: str, specs: Sequence[WaitableSpec] = ()
    ) -> None:
        """Wait until ``condition`` holds. Raises UserError, with the ends of the receivers' logs."""
        try:
            await wait_until(condition, WAIT_TIMEOUT_S, subject=subject, remedy=RETRY_HINT)
        except UserError as error:
            logs = log_tails(Path(spec.log_file) for spec in specs)
            raise UserError(f"{error.problem}. The logs end: {logs}", RETRY_HINT) from None


def message(name: str, run: str, token: str = "") -> WireMessage:
    """Return the message with this name; its id is unique to ``run`` and ``token``."""
    return encode(offer_settled_envelope(id_of(name, run, token), offer_settled(name), conversation_id=name))


def id_of(name: str, run: str, token: str, event_type: EventType[Any] = OFFER_SETTLED) -> str:
    """Return the id of a message. ``run`` may have spaces and commas, which ids must not have."""
    return message_id(name, event_type.name, re.sub(r"[^\w-]+", "-", f"{run} {token}".strip()))


def message_names(count: int) -> list[str]:
    """Return the names of ``count`` messages."""
    return [f"message-{number:04}" for number in range(count)]


def effect_counts(effects: Iterable[Effect]) -> Counter[str]:
    """Return the number of effects of each message."""
    return Counter(each.message for each in effects)


def count_lost(names: Iterable[str], counts: Mapping[str, int]) -> int:
    """Return how many messages have no effect."""
    return sum(not counts.get(name, 0) for name in names)


def count_doubled(names: Iterable[str], counts: Mapping[str, int]) -> int:
    """Return how many messages have more than one effect."""
    return sum(counts.get(name, 0) > 1 for name in names)
