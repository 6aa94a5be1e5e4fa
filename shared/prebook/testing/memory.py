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

from prebook.coupling.ports import HttpClient, HttpResponse, Publisher
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.envelope import Envelope, MessageKind, request_id_of
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage, PendingReply


@dataclass
class MemoryOutboxRow:
    seq: int
    message: OutboxMessage
    not_before: datetime
    state: OutboxState = OutboxState.WAITING
    failures: int = 0
    refusals: int = 0
    claimed: bool = False
    cause: str = ""
    error: str = ""


@dataclass
class MemoryTables:
    """Inbox, outbox and awaited of one service, and its own state."""

    state: Any
    inbox: dict[str, Envelope] = field(default_factory=dict)
    received_at: dict[str, datetime] = field(default_factory=dict)
    pending_requests: dict[str, Envelope] = field(default_factory=dict)
    replies: dict[str, Envelope] = field(default_factory=dict)
    outbox: dict[str, MemoryOutboxRow] = field(default_factory=dict)
    pending_replies: dict[str, PendingReply] = field(default_factory=dict)

    def draft(self) -> "MemoryTables":
        rows = {key: replace(row) for key, row in self.outbox.items()}
        return MemoryTables(
            copy.deepcopy(self.state),
            dict(self.inbox),
            dict(self.received_at),
            dict(self.pending_requests),
            dict(self.replies),
            rows,
            dict(self.pending_replies),
        )


class MemoryUnitOfWork:
    """UnitOfWork over a draft. Whatever it does not know is the service's own state."""

    def __init__(self, tables: MemoryTables, clock: Callable[[], datetime]) -> None:
        self._tables, self._clock, self.enqueued = tables, clock, list[OutboxMessage]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables.state, name)

    async def record_message(self, envelope: Envelope) -> bool:
        if envelope.kind is MessageKind.REPLY:
            self._tables.pending_replies.pop(request_id_of(envelope.id), None)
        self._tables.received_at.setdefault(envelope.id, utc_now())
        return self._tables.inbox.setdefault(envelope.id, envelope) is envelope

    async def record_messages(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        return [envelope.id for envelope in envelopes if await self.record_message(envelope)]

    async def find_received_at(self, message_id: str) -> datetime | None:
        return self._tables.received_at.get(message_id)

    async def record_request(self, request: Envelope) -> None:
        self._tables.pending_requests[request.id] = request

    async def find_pending_request(self, flow: str, conversation_id: str) -> Envelope | None:
        owed = (
            e for e in self._tables.pending_requests.values() if (e.flow, e.conversation_id) == (flow, conversation_id)
        )
        return next((e for e in owed if e.id not in self._tables.replies), None)

    async def record_reply(self, reply: Envelope) -> None:
        self._tables.replies[request_id_of(reply.id)] = reply

    async def find_reply(self, request_id: str) -> Envelope | None:
        return self._tables.replies.get(request_id)

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        self.enqueued += messages

    def flush(self, handoff: Handoff) -> None:
        """What was waiting already decides, for every one of them, whether it may be claimed."""
        before, claimed = (
            [row for row in self._tables.outbox.values() if row.state is OutboxState.WAITING],
            dict[str, int](),
        )
        for posting in self.enqueued:
            row = MemoryOutboxRow(len(self._tables.outbox), posting, self._clock() + posting.delay)
            if self._tables.outbox.setdefault(posting.envelope.id, row) is row and handoff.owner_of(posting):
                row.claimed = not any(self._precedes(other, row, handoff) for other in before)
                claimed |= {posting.envelope.id: row.seq} if row.claimed else {}
        handoff.claimed = claimed

    def _precedes(self, other: MemoryOutboxRow, row: MemoryOutboxRow, handover: Handoff) -> bool:
        same = (other.message.route, other.message.ordering_key) == (row.message.route, row.message.ordering_key)
        due = other.failures > 0 or other.not_before <= self._clock()
        return same and due and other.seq not in handover.tracked

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        for expectation in pending_replies:
            self._tables.pending_replies.setdefault(expectation.request.id, expectation)


def _no_handoff(_: Sequence[OutboxMessage]) -> AbstractContextManager[Handoff]:
    return nullcontext(Handoff())


class MemoryDatabase:
    """One service's database. Also its Outbox and PendingReplies. ``hand_off``: the relay's."""

    owner = "the relay"

    def __init__(self, state: Any, clock: Callable[[], datetime] = utc_now) -> None:
        self.tables, self._clock, self._lock = MemoryTables(state), clock, asyncio.Lock()
        self.hand_off: Callable[[Sequence[OutboxMessage]], AbstractContextManager[Handoff]] = _no_handoff

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        async with self._lock:
            draft = self.tables.draft()
            work = MemoryUnitOfWork(draft, self._clock)
            yield work
            with self.hand_off(work.enqueued) as handover:
                work.flush(handover)
                self.tables = draft

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        async with self._lock:
            now = self._clock()  # one moment for all rows, as in a transaction
            due = [row for row in self.tables.outbox.values() if self._is_due(row, full_routes, tracked, now)][:limit]
            for row in due:
                row.claimed = True
        return [
            LeasedRow(r.seq, r.message.route, r.message.envelope, r.failures, r.message.ordering_key, r.refusals)
            for r in due
        ]

    async def release_untracked(self, tracked: Collection[int]) -> None:
        await self._update([row.seq for row in self.tables.outbox.values() if row.seq not in tracked])

    async def release(self, seqs: Sequence[int]) -> None:
        await self._update(seqs)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        waiting = {row.seq for row in self.tables.outbox.values() if row.state is OutboxState.WAITING}
        await self._update(waiting.intersection(seqs), state=OutboxState.SENT)

    async def reschedule(self, row: LeasedRow, error: str, *, delay_s: float, refused: bool) -> None:
        later, refusals = self._clock() + timedelta(seconds=delay_s), row.refusals + 1 if refused else 0
        failures = row.failures + 1
        await self._update([row.seq], not_before=later, failures=failures, refusals=refusals, error=error)

    async def abandon(self, row: LeasedRow, state: OutboxState, cause: str, error: str) -> None:
        await self._update([row.seq], state=state, cause=cause, failures=row.failures, error=error)

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        now = self._clock()
        return [e.request for e in self.tables.pending_replies.values() if e.due_at <= now][:limit]

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        now = self._clock()
        open_ = [e for e in self.tables.pending_replies.values() if e.poll_at is not None and e.poll_at <= now][:limit]
        for e in open_:
            self.tables.pending_replies[e.request.id] = replace(e, poll_at=now + timedelta(seconds=poll_interval_s))
        return [e.request for e in open_]

    def _is_due(self, row: MemoryOutboxRow, full_lanes: Collection[str], known: Collection[int], now: datetime) -> bool:
        waits = row.state is OutboxState.WAITING and not row.claimed and row.not_before <= now
        held = any(self._blocks(before, known, now) for before in self._earlier_rows(row))
        return waits and row.message.route not in full_lanes and not held

    def _earlier_rows(self, row: MemoryOutboxRow) -> Iterator[MemoryOutboxRow]:
        place = (row.message.route, row.message.ordering_key)
        rows = self.tables.outbox.values()
        return (r for r in rows if (r.message.route, r.message.ordering_key) == place and r.seq < row.seq)

    def _blocks(self, row: MemoryOutboxRow, known: Collection[int], now: datetime) -> bool:
        """There is one relay, and what it knows to have under way it puts in line itself."""
        unknown = row.claimed and row.seq not in known
        return row.state is OutboxState.WAITING and (unknown or (row.failures > 0 and row.not_before > now))

    async def _update(self, seqs: Collection[int], **changes: Any) -> None:
        async with self._lock:
            for key, row in self.tables.outbox.items():
                if row.seq in seqs:
                    self.tables.outbox[key] = replace(row, claimed=False, **changes)


class MemoryBroker(Publisher):
    """Topic exchanges with exact keys, queues as deques. ``copies`` delivers everything so many times."""

    def __init__(self, bindings: Mapping[tuple[str, str], Collection[str]], copies: int = 1) -> None:
        self._bindings = {address: set(queues) for address, queues in bindings.items()}
        self.queues: dict[str, deque[WireMessage]] = defaultdict(deque)
        self.copies, self.is_down = copies, False
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.published: list[tuple[str, str, WireMessage]] = []

    def bind(self, exchange: str, key: str, queue: str) -> None:
        self._bindings.setdefault((exchange, key), set()).add(queue)

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise Unreachable("the broker is down")
        queues = self._bindings.get((exchange, routing_key), set())
        if not queues and exchange != addresses.PARKING:
            raise Undeliverable(f"{exchange} routes {routing_key!r} to no queue", cause="unroutable")
        self.published.append((exchange, routing_key, message))
        for queue in queues:
            self.queues[queue].extend([message] * self.copies)
            self._arrived[queue].set()

    async def wait_for_message(self, queue: str) -> None:
        """Returns when something has come into the queue since the last call."""
        await self._arrived[queue].wait()
        self._arrived[queue].clear()


class MemoryHttp(HttpClient):
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
    ) -> HttpResponse:
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
        return HttpResponse(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
