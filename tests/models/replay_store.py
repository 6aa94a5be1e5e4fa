"""Operations' database for the model of replays, and the services that receive what a replay sends.

Only the database keeps replays, so there is no store in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.dead_letters import DeadLetterSelection, DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.coupling.ports import Publisher
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.operations.replays.runner import ReplayPorts, ReplayRunner
from prebook.operations.sql import OperationsSql
from prebook.postgres.connection import ResultRows, acquire
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.operations.examples import Begin
from tests.operations.receivers import TARGETS, operations_client

SERVICE = "operations"
TABLES = ("redelivery", "replay", "dead_letter_note", "dead_letter_version", "occurrence", "dead_letter")
STATES = text("SELECT id, state, times_parked FROM dead_letter ORDER BY id")
ITEMS = text("SELECT replay_id, dead_letter_id, state, ordering_key FROM redelivery ORDER BY replay_id, position")
REPLAYS = text("SELECT id, state FROM replay")
END_LEASES = text("UPDATE replay SET leased_until = now() - interval '1 s'")
AGE_SENT = text("UPDATE redelivery SET sent_at = sent_at - interval '1 h'")
T = TypeVar("T")


class RunnerKilled(BaseException):
    """The process of a runner ends here."""


@dataclass(frozen=True)
class Item:
    """A redelivery."""

    replay_id: str
    dead_letter_id: int
    state: RedeliveryState
    key: str


@dataclass(frozen=True)
class Snapshot:
    """All rows of the replays. ``items``: in the order of each replay."""

    dead_letters: Mapping[int, DeadLetterState]
    times_parked: Mapping[int, int]
    items: Sequence[Item]
    replays: Mapping[str, ReplayState]


@dataclass(frozen=True)
class Sent:
    """A message at its target. ``is_confirmed``: the runner has learnt that the broker has it."""

    target: tuple[str, str]
    wire: WireMessage
    is_confirmed: bool


class Services:
    """The broker, and the inboxes of the services. ``fault`` is what happens to the next messages."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.inbox: dict[str, datetime] = {}
        self.fault = ""
        self.slow_runner = ""
        """Runner whose calls end in ``slow_fault``, the first of them after ``meanwhile`` has run."""
        self.slow_fault = ""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def look_up_inbox(self, service: str, message_id: str) -> datetime | None:
        del service
        return self.inbox.get(message_id)


class Link(Publisher):
    """The connection of one runner to the broker."""

    def __init__(self, services: Services, runner: str) -> None:
        self._services = services
        self._runner = runner

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        services = self._services
        is_slow = self._runner == services.slow_runner
        fault = services.slow_fault if is_slow else services.fault
        if is_slow and (meanwhile := services.meanwhile):
            services.meanwhile = None
            await meanwhile()
        if fault == "down":
            raise Unreachable("the broker is down")
        if fault == "unroutable":
            raise Undeliverable("no queue")
        services.sent.append(Sent((exchange, routing_key), message, is_confirmed=not (fault or is_slow)))
        if fault == "confirm_lost":
            raise Unreachable("the confirm was lost")
        if fault == "killed":
            raise RunnerKilled


class ReplayStore:
    """Operations on PostgreSQL."""

    def __init__(self, runner: asyncio.Runner, engine: AsyncEngine, client: httpx.AsyncClient, begin: Begin) -> None:
        self.client = client
        self.begin = begin
        self._runner = runner
        self._engine = engine

    def run(self, call: Awaitable[T]) -> T:
        return self._runner.run(_await(call))

    def clear(self) -> None:
        for table in TABLES:
            self.run(self._execute(text(f"DELETE FROM {table}")))  # noqa: S608 - names of tables

    def make_runner(self, services: Services, leased_by: str) -> ReplayRunner:
        return ReplayRunner(
            self.begin, ReplayPorts(Link(services, leased_by), services.look_up_inbox, TARGETS), leased_by
        )

    async def finish_tasks(self) -> None:
        """Wait for what else a killed runner had begun; none of it is confirmed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    async def discard(self, dead_letter_id: int) -> None:
        async with self.begin() as work:
            await work.discard(DeadLetterSelection(ids=(dead_letter_id,)), "not needed", operator="ada")

    async def restore(self, dead_letter_id: int) -> None:
        async with self.begin() as work:
            await work.restore(DeadLetterSelection(ids=(dead_letter_id,)), operator="ada")

    async def end_leases(self) -> None:
        await self._execute(END_LEASES)

    async def age_sent(self) -> None:
        """Let what was sent have been sent an hour ago."""
        await self._execute(AGE_SENT)

    def read(self) -> Snapshot:
        return self.run(self._read())

    async def _read(self) -> Snapshot:
        letters = await self._execute(STATES)
        return Snapshot(
            {row.id: DeadLetterState(row.state) for row in letters},
            {row.id: row.times_parked for row in letters},
            [
                Item(row.replay_id, row.dead_letter_id, RedeliveryState(row.state), row.ordering_key)
                for row in await self._execute(ITEMS)
            ],
            {row.id: ReplayState(row.state) for row in await self._execute(REPLAYS)},
        )

    async def _execute(self, statement: Any) -> ResultRows:
        async with acquire(self._engine) as connection:
            return await connection.execute_without_begin(statement)


@contextmanager
def open_replay_store(service_url: str) -> Iterator[ReplayStore]:
    with asyncio.Runner() as runner:
        engine = create_engine(SERVICE, service_url)
        begin = unit_of_work_factory(engine, OperationsSql)
        opened = operations_client(begin)
        client = runner.run(opened.__aenter__())
        try:
            yield ReplayStore(runner, engine, client, begin)
        finally:
            runner.run(opened.__aexit__(None, None, None))
            runner.run(engine.dispose())


async def _await(call: Awaitable[T]) -> T:
    return await call
