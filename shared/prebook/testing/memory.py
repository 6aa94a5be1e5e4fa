"""In-memory database with real transactions.

A unit of work changes a draft of the tables, which replaces them on commit; the units of one database run one after the
other.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from prebook.messaging.clock import utc_now
from prebook.messaging.deadlines import PendingReplies
from prebook.messaging.envelope import Envelope, MessageKind, reply_id, request_id_of
from prebook.messaging.outbox.handoff import Handoff, OpenHandoff, no_handoff
from prebook.messaging.outbox.store import LeasedRow, Outbox, OutboxState
from prebook.messaging.unit_of_work import CheckedBody, OutboxMessage, PendingReply, StoredBody, UnitOfWork


@dataclass
class MemoryOutboxRow:
    """Row of the in-memory outbox."""

    seq: int
    message: OutboxMessage
    not_before: datetime
    state: OutboxState = OutboxState.WAITING
    failures: int = 0
    refusals: int = 0
    claimed_by: str = ""
    claimed_until: datetime | None = None
    cause: str = ""
    error: str = ""


@dataclass
class MemoryTables:
    """Tables of one service: inbox, outbox, pending replies and the state of the service itself."""

    state: Any
    inbox: dict[str, Envelope] = field(default_factory=dict)
    received_at: dict[str, datetime] = field(default_factory=dict)
    pending_requests: dict[str, Envelope] = field(default_factory=dict)
    replies: dict[str, Envelope] = field(default_factory=dict)
    outbox: dict[str, MemoryOutboxRow] = field(default_factory=dict)
    pending_replies: dict[str, PendingReply] = field(default_factory=dict)
    bodies: dict[str, CheckedBody] = field(default_factory=dict)

    def draft(self) -> "MemoryTables":
        """Return a copy that a unit of work can change."""
        rows = {key: replace(row) for key, row in self.outbox.items()}
        return MemoryTables(
            copy_state(self.state),
            dict(self.inbox),
            dict(self.received_at),
            dict(self.pending_requests),
            dict(self.replies),
            rows,
            dict(self.pending_replies),
            dict(self.bodies),
        )


def copy_state(value: Any) -> Any:
    """Return a deep copy that shares the frozen values in it, which are most of a state.

    Copying those as well would take half of the time of a test.
    """
    copied: Any
    if isinstance(value, list):
        return [copy_state(each) for each in value]
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key in value:
            copied[key] = copy_state(value[key])
        return copied
    if is_dataclass(value) and not _is_frozen(value):
        copied = copy.copy(value)
        for each in fields(value):
            setattr(copied, each.name, copy_state(getattr(value, each.name)))
        return copied
    return value if _is_frozen(value) else copy.deepcopy(value)


def _is_frozen(value: Any) -> bool:
    if isinstance(value, msgspec.Struct):
        return value.__struct_config__.frozen
    return is_dataclass(value) and bool(vars(type(value))["__dataclass_params__"].frozen)


class MemoryUnitOfWork(UnitOfWork):
    """Unit of work over a draft of the tables; other attributes are those of the service's state."""

    def __init__(self, tables: MemoryTables, clock: Callable[[], datetime]) -> None:
        self._tables = tables
        self._clock = clock
        self.enqueued = list[OutboxMessage]()

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
        pending = (
            e for e in self._tables.pending_requests.values() if (e.flow, e.conversation_id) == (flow, conversation_id)
        )
        return next((e for e in pending if e.id not in self._tables.replies), None)

    async def record_reply(self, reply: Envelope) -> None:
        self._tables.replies[request_id_of(reply.id)] = reply

    async def find_reply(self, request_id: str) -> Envelope | None:
        return self._tables.replies.get(request_id)

    async def find_replies(self, request_ids: Collection[str]) -> Sequence[Envelope]:
        return [self._tables.replies[each] for each in request_ids if each in self._tables.replies]

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        self.enqueued += messages

    def flush(self, handoff: Handoff) -> None:
        """Write the enqueued messages to the outbox.

        A row is leased by the handoff only if no untracked row of its key waited before.
        """
        waiting = [row for row in self._tables.outbox.values() if row.state is OutboxState.WAITING]
        claimed: dict[str, int] = {}
        for message in self.enqueued:
            now = self._clock()
            row = MemoryOutboxRow(len(self._tables.outbox), message, now + message.delay)
            owner = handoff.owner_of(message)
            is_new = self._tables.outbox.setdefault(message.envelope.id, row) is row
            if is_new and owner and not any(self._precedes(other, row, handoff) for other in waiting):
                row.claimed_by = owner
                row.claimed_until = now + handoff.lease
                claimed[message.envelope.id] = row.seq
        handoff.claimed = claimed

    def _precedes(self, other: MemoryOutboxRow, row: MemoryOutboxRow, handoff: Handoff) -> bool:
        same_key = (other.message.route, other.message.ordering_key) == (row.message.route, row.message.ordering_key)
        keeps_order = other.failures > 0 or _is_due(other, self._clock())  # a delayed row does not, until it fails
        return same_key and keeps_order and other.seq not in handoff.tracked

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        for pending in pending_replies:
            self._tables.pending_replies.setdefault(pending.request.id, pending)

    async def list_outstanding(self, request_ids: Sequence[str]) -> Collection[str]:
        waiting = {key for key, row in self._tables.outbox.items() if row.state is OutboxState.WAITING}
        return {
            each for each in request_ids if each in self._tables.pending_replies or waiting & {each, reply_id(each)}
        }

    async def stop_polling(self, request_id: str) -> None:
        if pending := self._tables.pending_replies.get(request_id):
            self._tables.pending_replies[request_id] = replace(pending, poll_at=None)

    async def store_bodies(self, bodies: Sequence[CheckedBody]) -> None:
        self._tables.bodies |= {each.reference: each for each in bodies}

    async def read_body(self, reference: str) -> StoredBody | None:
        found = self._tables.bodies.get(reference)
        return StoredBody(found.kind, found.flow, found.body) if found else None

    async def extend_bodies(self, references: Collection[str], lifetime: timedelta) -> int:
        known = [each for each in references if each in self._tables.bodies]
        for each in known:
            self._tables.bodies[each] = replace(self._tables.bodies[each], lifetime=lifetime)
        return len(known)


def _is_due(row: MemoryOutboxRow, now: datetime) -> bool:
    """Return whether the row may be sent: one without a delay always, also after the clock was set back."""
    return row.not_before <= now or not (row.message.delay or row.failures)


def _is_leased(row: MemoryOutboxRow, now: datetime) -> bool:
    return row.claimed_until is not None and row.claimed_until >= now


class MemoryDatabase(Outbox, PendingReplies):
    """Database of one service, with pending replies and the outbox as the relay ``owner`` sees it.

    ``hand_off`` is the one of the relay.
    """

    owner = "the relay"

    def __init__(self, state: Any, clock: Callable[[], datetime] = utc_now) -> None:
        self.tables = MemoryTables(state)
        self._clock = clock
        self._lock = asyncio.Lock()
        self.hand_off: OpenHandoff = no_handoff

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        """Open a unit of work on a draft of the tables, which replaces them if the block ends without an exception."""
        async with self._lock:
            draft = self.tables.draft()
            work = MemoryUnitOfWork(draft, self._clock)
            yield work
            with self.hand_off(work.enqueued) as handoff:
                work.flush(handoff)
                self.tables = draft

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        async with self._lock:
            now = self._clock()  # one time for all rows, as in a transaction
            rows = self.tables.outbox.values()
            due = [row for row in rows if self._is_claimable(row, full_routes, tracked, now)][:limit]
            for row in due:
                row.claimed_by = self.owner
                row.claimed_until = now + timedelta(seconds=lease_s)
        return [
            LeasedRow(r.seq, r.message.route, r.message.envelope, r.failures, r.message.ordering_key, r.refusals, True)
            for r in due
        ]

    async def release_untracked(self, tracked: Collection[int]) -> None:
        await self._update([row.seq for row in self.tables.outbox.values() if row.seq not in tracked])

    async def release(self, seqs: Sequence[int]) -> None:
        await self._update(seqs)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        await self._update(seqs, state=OutboxState.SENT)

    async def record_start(self, row: LeasedRow, message: Envelope) -> None:
        async with self._lock:
            for key, stored in self.tables.outbox.items():
                if stored.seq == row.seq and stored.claimed_by == self.owner:
                    taken_up = OutboxMessage(message, row.route, row.ordering_key)
                    self.tables.outbox[key] = replace(stored, message=taken_up)

    async def reschedule(
        self, row: LeasedRow, error: str, *, delay_s: float, refused: bool, message: Envelope | None = None
    ) -> None:
        changes: dict[str, Any] = {
            "not_before": self._clock() + timedelta(seconds=delay_s),
            "failures": row.failures + 1,
            "refusals": row.refusals + 1 if refused else 0,
            "error": error,
        }
        if message is not None:
            changes["message"] = OutboxMessage(message, row.route, row.ordering_key)
        await self._update([row.seq], **changes)

    async def abandon(self, row: LeasedRow, state: OutboxState, cause: str, error: str) -> None:
        await self._update([row.seq], state=state, cause=cause, failures=row.failures, error=error)

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        now = self._clock()
        return [e.request for e in self.tables.pending_replies.values() if e.due_at <= now][:limit]

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        now = self._clock()
        pending = [e for e in self.tables.pending_replies.values() if e.poll_at is not None and e.poll_at <= now]
        for e in pending[:limit]:
            self.tables.pending_replies[e.request.id] = replace(e, poll_at=now + timedelta(seconds=poll_interval_s))
        return [e.request for e in pending[:limit]]

    def _is_claimable(
        self, row: MemoryOutboxRow, full_routes: Collection[str], tracked: Collection[int], now: datetime
    ) -> bool:
        is_free = row.state is OutboxState.WAITING and not _is_leased(row, now) and _is_due(row, now)
        is_blocked = any(self._blocks(earlier, tracked, now) for earlier in self._earlier_rows(row))
        return is_free and row.message.route not in full_routes and not is_blocked

    def _earlier_rows(self, row: MemoryOutboxRow) -> Iterator[MemoryOutboxRow]:
        key = (row.message.route, row.message.ordering_key)
        rows = self.tables.outbox.values()
        return (r for r in rows if (r.message.route, r.message.ordering_key) == key and r.seq < row.seq)

    def _blocks(self, row: MemoryOutboxRow, tracked: Collection[int], now: datetime) -> bool:
        """Rows that the relay tracks block nothing here, since its keyed queue keeps their order."""
        is_tracked = row.claimed_by == self.owner and row.seq in tracked
        is_kept = _is_leased(row, now) and not is_tracked
        return row.state is OutboxState.WAITING and (is_kept or (row.failures > 0 and row.not_before > now))

    async def _update(self, seqs: Collection[int], **changes: Any) -> None:
        """End the lease of waiting rows that ``owner`` has claimed last, and change them."""
        async with self._lock:
            for key, row in self.tables.outbox.items():
                if row.seq in seqs and row.state is OutboxState.WAITING and row.claimed_by == self.owner:
                    self.tables.outbox[key] = replace(row, claimed_until=None, **changes)
