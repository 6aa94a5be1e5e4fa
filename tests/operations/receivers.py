"""Receivers of replayed messages in memory, and a client of operations' API without sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx

from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.app import SERVICE
from prebook.operations.dead_letters.record import record_of
from prebook.operations.replays.runner import ReplayPorts, ReplayRunner
from prebook.testing.configuration import make_settings
from prebook.testing.http import open_client
from prebook.testing.single import assemble_alone
from tests.operations.examples import QUEUE, Begin

TARGETS = {QUEUE: {(addresses.REQUESTS, "quote_fare"), (addresses.REDELIVER, QUEUE)}}
WEEK_S = 7 * 24 * 3600.0
OPERATOR = "ada"
OPERATOR_TOKEN = "a-token-of-an-operator-in-tests"


class Receivers(Publisher):
    """All services with their queues and inboxes.

    Messages with ``failing_ids`` are parked again for ``cause``; those with ``lost_ids`` get no outcome. Every publish
    raises ``error``, if there is one.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self.inbox: dict[str, datetime] = {}
        self.published: list[WireMessage] = []
        self.targets: list[tuple[str, str]] = []
        self.failing_ids: set[str] = set()
        self.lost_ids: set[str] = set()
        self.cause = "attempts_exhausted"
        self.error: Exception | None = None

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        if self.error:
            raise self.error
        self.published.append(message)
        self.targets.append((exchange, routing_key))
        if message.headers["ce-id"] not in self.lost_ids:
            await self.handle(message)

    async def handle(self, wire: WireMessage) -> None:
        """Park the message, or record it in the inbox."""
        if wire.headers["ce-id"] not in self.failing_ids:
            self.inbox.setdefault(wire.headers["ce-id"], datetime.now(UTC))
            return
        failure = {
            "prebook-x-cause": self.cause,
            "prebook-x-error": "ProgrammingError: again",
            "prebook-attempt": "5",
        }
        async with self._begin() as work:
            await work.add_dead_letter(
                record_of(DeadLetter(QUEUE, {**wire.headers, **failure}, wire.body), datetime.now(UTC))
            )

    async def look_up_inbox(self, service: str, message_id: str) -> datetime | None:
        assert service == "pricing"
        return self.inbox.get(message_id)

    @property
    def published_ids(self) -> list[str]:
        return [wire.headers["ce-id"] for wire in self.published]

    def make_runner(self, leased_by: str = "me") -> ReplayRunner:
        return ReplayRunner(self._begin, ReplayPorts(self, self.look_up_inbox, TARGETS), leased_by)


async def run_until_ended(runner: ReplayRunner, steps: int = 100) -> None:
    """Advance the replays until none is running."""
    for _ in range(steps):
        if await runner.run_once() is None:
            return
    raise AssertionError(f"a replay is still running after {steps} steps")


@asynccontextmanager
async def operations_client(begin: Begin) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of operations' API, with the token of an operator."""
    settings = make_settings(operator_tokens=(f"{OPERATOR}={OPERATOR_TOKEN}",))
    async with open_client(assemble_alone(SERVICE, begin, settings=settings)) as client:
        client.headers["authorization"] = f"Bearer {OPERATOR_TOKEN}"
        yield client
