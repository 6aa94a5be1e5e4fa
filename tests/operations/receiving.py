"""Receivers of replayed messages, and operations' HTTP, without sockets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from litestar import Litestar

from prebook.coupling.ports import Publisher
from prebook.http.app import create_app
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters import api as dead_letters_api
from prebook.operations.dead_letters.record import record_of
from prebook.operations.replays import api as replays_api
from prebook.operations.replays.runner import ReplayPorts, ReplayRunner
from prebook.testing.context import make_context
from tests.operations.parcels import QUEUE, Begin
from tests.world import settings

ALLOWED = {(addresses.REQUESTS, "quote_fare"), (addresses.REDELIVER, QUEUE)}
WEEK_S = 7 * 24 * 3600.0


class Receivers(Publisher):
    """All services, their queues and their inboxes. ``failing`` ids are parked again, ``lost`` ones never heard of."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self.inbox: dict[str, datetime] = {}
        self.heard: list[WireMessage] = []
        self.addresses: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.lost: set[str] = set()
        self.cause = "attempts_exhausted"
        self.is_down, self.routes = False, True

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        if self.is_down:
            raise Unreachable("the broker is down")
        if not self.routes:
            raise Undeliverable("no queue")
        self.heard.append(message)
        self.addresses.append((exchange, routing_key))
        if message.headers["ce-id"] not in self.lost:
            await self.handle(message)

    async def handle(self, wire: WireMessage) -> None:
        """Park it or let it have its one effect."""
        if wire.headers["ce-id"] not in self.failing:
            self.inbox.setdefault(wire.headers["ce-id"], datetime.now(UTC))
            return
        why = {
            "prebook-x-cause": self.cause,
            "prebook-x-error": "ProgrammingError: again",
            "prebook-attempt": "5",
        }
        async with self._begin() as work:
            await work.add_dead_letter(
                record_of(DeadLetter(QUEUE, {**wire.headers, **why}, wire.body), datetime.now(UTC))
            )

    async def admitted(self, service: str, message_id: str) -> datetime | None:
        assert service == "pricing"
        return self.inbox.get(message_id)

    @property
    def ids(self) -> list[str]:
        return [wire.headers["ce-id"] for wire in self.heard]

    def replaying(self, holder: str = "me") -> ReplayRunner:
        return ReplayRunner(self._begin, ReplayPorts(self, self.admitted, ALLOWED), holder)


async def until_over(replaying: ReplayRunner, steps: int = 100) -> None:
    """Until no replay is under way."""
    for _ in range(steps):
        if await replaying.run_once() is None:
            return
    raise AssertionError(f"not over after {steps} steps")


@asynccontextmanager
async def operator(begin: Begin) -> AsyncIterator[httpx.AsyncClient]:
    """A client of operations' HTTP."""
    running = make_context("operations", begin, settings())
    routes = [*dead_letters_api.routes(running), *replays_api.routes(running, queues={QUEUE}, inbox_dedup_s=WEEK_S)]
    app: Any = create_app(
        "operations", routes, missing_dependencies=_nothing_missing, refresh_gauges=_nothing, lifespan=_no_lifespan
    )  # httpx wants wider types of scope and events than Litestar declares
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://operations") as client:
        yield client


async def _nothing_missing() -> Mapping[str, str]:
    return {}


async def _nothing() -> None:
    return None


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield
