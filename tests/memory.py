"""A database, a broker and a network in memory: small, ours, and honest about transactions.

A unit of work is a draft of the tables that replaces them on commit; units of one database come one after the other.
"""

import asyncio
import copy
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from prebook.coupling.ports import Http, Publisher, Response
from prebook.messaging import addresses
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import Wire
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.outbox.handoff import Handover
from prebook.messaging.outbox.store import Claimed
from prebook.messaging.unit_of_work import Expectation, Posting


@dataclass
class Row:
    seq: int
    posting: Posting
    not_before: datetime
    state: str = "waiting"
    failures: int = 0
    refusals: int = 0
    claimed: bool = False
    cause: str = ""
    error: str = ""


@dataclass
class Tables:
    """Inbox, outbox and awaited of one service, and its own state."""

    state: Any
    inbox: dict[str, Envelope] = field(default_factory=dict)
    admitted: dict[str, datetime] = field(default_factory=dict)
    owed: dict[str, Envelope] = field(default_factory=dict)
    answers: dict[str, Envelope] = field(default_factory=dict)
    outbox: dict[str, Row] = field(default_factory=dict)
    awaited: dict[str, Expectation] = field(default_factory=dict)

    def draft(self) -> "Tables":
        rows = {key: replace(row) for key, row in self.outbox.items()}
        return Tables(
            copy.deepcopy(self.state),
            dict(self.inbox),
            dict(self.admitted),
            dict(self.owed),
            dict(self.answers),
            rows,
            dict(self.awaited),
        )


class MemoryWork:
    """UnitOfWork over a draft. Whatever it does not know is the service's own state."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime]) -> None:
        self._tables, self._clock, self.posted = tables, clock, list[Posting]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables.state, name)

    async def admit(self, envelope: Envelope) -> bool:
        if envelope.kind is Kind.ANSWER:
            self._tables.awaited.pop(envelope.id.removesuffix(".answer"), None)
        self._tables.admitted.setdefault(envelope.id, utc_now())
        return self._tables.inbox.setdefault(envelope.id, envelope) is envelope

    async def admit_all(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        return [envelope.id for envelope in envelopes if await self.admit(envelope)]

    async def admitted_at(self, message_id: str) -> datetime | None:
        return self._tables.admitted.get(message_id)

    async def owe(self, request: Envelope) -> None:
        self._tables.owed[request.id] = request

    async def question(self, flow: str, conversation: str) -> Envelope | None:
        owed = (e for e in self._tables.owed.values() if (e.flow, e.conversation) == (flow, conversation))
        return next((e for e in owed if e.id not in self._tables.answers), None)

    async def answered(self, answer: Envelope) -> None:
        self._tables.answers[answer.id.removesuffix(".answer")] = answer

    async def answer_to(self, request_id: str) -> Envelope | None:
        return self._tables.answers.get(request_id)

    async def post(self, postings: Sequence[Posting]) -> None:
        self.posted += postings

    def leave(self, handover: Handover) -> None:
        """What was waiting already decides, for every one of them, whether it may be claimed."""
        before, claimed = [row for row in self._tables.outbox.values() if row.state == "waiting"], dict[str, int]()
        for posting in self.posted:
            row = Row(len(self._tables.outbox), posting, self._clock() + posting.after)
            if self._tables.outbox.setdefault(posting.envelope.id, row) is row and handover.owner_of(posting):
                row.claimed = not any(self._comes_before(other, row, handover) for other in before)
                claimed |= {posting.envelope.id: row.seq} if row.claimed else {}
        handover.claimed = claimed

    def _comes_before(self, other: Row, row: Row, handover: Handover) -> bool:
        same = (other.posting.lane, other.posting.order_key) == (row.posting.lane, row.posting.order_key)
        due = other.failures > 0 or other.not_before <= self._clock()
        return same and due and other.seq not in handover.known

    async def expect(self, expectations: Sequence[Expectation]) -> None:
        for expectation in expectations:
            self._tables.awaited.setdefault(expectation.request.id, expectation)


def _nobody(_: Sequence[Posting]) -> AbstractContextManager[Handover]:
    return nullcontext(Handover())


class MemoryDatabase:
    """One service's database. Also its Outbox and Expectations. ``taking``: the relay's."""

    owner = "the relay"

    def __init__(self, state: Any, clock: Callable[[], datetime] = utc_now) -> None:
        self.tables, self._clock, self._one_at_a_time = Tables(state), clock, asyncio.Lock()
        self.taking: Callable[[Sequence[Posting]], AbstractContextManager[Handover]] = _nobody

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        async with self._one_at_a_time:
            draft = self.tables.draft()
            work = MemoryWork(draft, self._clock)
            yield work
            with self.taking(work.posted) as handover:
                work.leave(handover)
                self.tables = draft

    async def claim(
        self, limit: int, *, lease_s: float, full_lanes: Collection[str], known: Collection[int] = ()
    ) -> Sequence[Claimed]:
        async with self._one_at_a_time:
            now = self._clock()  # one moment for all rows, as in a transaction
            due = [row for row in self.tables.outbox.values() if self._is_due(row, full_lanes, known, now)][:limit]
            for row in due:
                row.claimed = True
        return [
            Claimed(r.seq, r.posting.lane, r.posting.envelope, r.failures, r.posting.order_key, r.refusals) for r in due
        ]

    async def let_go(self, but: Collection[int]) -> None:
        await self._mark([row.seq for row in self.tables.outbox.values() if row.seq not in but])

    async def put_back(self, seqs: Sequence[int]) -> None:
        await self._mark(seqs)

    async def sent(self, seqs: Collection[int]) -> None:
        waiting = {row.seq for row in self.tables.outbox.values() if row.state == "waiting"}
        await self._mark(waiting.intersection(seqs), state="sent")

    async def postpone(self, claimed: Claimed, error: str, *, pause_s: float, refused: bool) -> None:
        later, refusals = self._clock() + timedelta(seconds=pause_s), claimed.refusals + 1 if refused else 0
        failures = claimed.failures + 1
        await self._mark([claimed.seq], not_before=later, failures=failures, refusals=refusals, error=error)

    async def give_up(self, claimed: Claimed, state: str, cause: str, error: str) -> None:
        await self._mark([claimed.seq], state=state, cause=cause, failures=claimed.failures, error=error)

    async def due(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        now = self._clock()
        return [e.request for e in self.tables.awaited.values() if e.due_at <= now][:limit]

    async def to_poll(self, limit: int, *, again_s: float) -> Sequence[Envelope]:
        now = self._clock()
        open_ = [e for e in self.tables.awaited.values() if e.poll_at is not None and e.poll_at <= now][:limit]
        for e in open_:
            self.tables.awaited[e.request.id] = replace(e, poll_at=now + timedelta(seconds=again_s))
        return [e.request for e in open_]

    def _is_due(self, row: Row, full_lanes: Collection[str], known: Collection[int], now: datetime) -> bool:
        waits = row.state == "waiting" and not row.claimed and row.not_before <= now
        held = any(self._holds_back(before, known, now) for before in self._before(row))
        return waits and row.posting.lane not in full_lanes and not held

    def _before(self, row: Row) -> Iterator[Row]:
        place = (row.posting.lane, row.posting.order_key)
        rows = self.tables.outbox.values()
        return (r for r in rows if (r.posting.lane, r.posting.order_key) == place and r.seq < row.seq)

    def _holds_back(self, row: Row, known: Collection[int], now: datetime) -> bool:
        """There is one relay, and what it knows to have under way it puts in line itself."""
        unknown = row.claimed and row.seq not in known
        return row.state == "waiting" and (unknown or (row.failures > 0 and row.not_before > now))

    async def _mark(self, seqs: Collection[int], **changes: Any) -> None:
        async with self._one_at_a_time:
            for key, row in self.tables.outbox.items():
                if row.seq in seqs:
                    self.tables.outbox[key] = replace(row, claimed=False, **changes)


class MemoryBroker(Publisher):
    """Topic exchanges with exact keys, queues as deques. ``copies`` delivers everything so many times."""

    def __init__(self, bindings: Mapping[tuple[str, str], Collection[str]], copies: int = 1) -> None:
        self._bindings = {address: set(queues) for address, queues in bindings.items()}
        self.queues: dict[str, deque[Wire]] = defaultdict(deque)
        self.copies, self.is_down = copies, False
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.published: list[tuple[str, str, Wire]] = []

    def bind(self, exchange: str, key: str, queue: str) -> None:
        self._bindings.setdefault((exchange, key), set()).add(queue)

    async def publish(self, exchange: str, key: str, wire: Wire, *, expires_at: datetime | None = None) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise Unreachable("the broker is down")
        queues = self._bindings.get((exchange, key), set())
        if not queues and exchange != addresses.PARKING:
            raise Undeliverable(f"{exchange} routes {key!r} to no queue", cause="unroutable")
        self.published.append((exchange, key, wire))
        for queue in queues:
            self.queues[queue].extend([wire] * self.copies)
            self._arrived[queue].set()

    async def changed(self, queue: str) -> None:
        """Returns when something has come into the queue since the last call."""
        await self._arrived[queue].wait()
        self._arrived[queue].clear()


class MemoryHttp(Http):
    """Real ASGI applications, no sockets. A service in ``down`` refuses the connection."""

    def __init__(self, apps: Mapping[str, Any], down: Collection[str]) -> None:
        self._apps, self._down = apps, down
        self._clients: dict[str, httpx.AsyncClient] = {}
        self.copies, self.lose_callbacks = 1, False
        self.calls: list[str] = []

    def connect(self) -> None:
        self._clients = {
            name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{name}")
            for name, app in self._apps.items()
        }

    def client(self, service: str) -> httpx.AsyncClient:
        return self._clients[service]

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        self.calls.append(f"{method} {service}{path}")
        if service in self._down:
            raise Unreachable(f"{service} is down")
        if self.lose_callbacks and path.startswith("/callbacks/"):
            raise Unreachable("the callback was lost")
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(self.copies):
                    response = await self._clients[service].request(method, path, headers=headers, content=body)
        except TimeoutError:
            raise Unreachable(f"{service} did not answer in time", reason="timeout") from None
        return Response(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
