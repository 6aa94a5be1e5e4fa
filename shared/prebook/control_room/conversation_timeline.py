"""Timeline of one conversation: every message with its waits and attempts, from the records of the services. Pure.

Each entry is one message on its way to one service. Its time is split where the records allow it:

| part | from | until |
|---|---|---|
| outbox | the transaction that wrote the message began, or its planned delay ended | it was handed over |
| queue | it was handed over | its handling began: the way there, and the wait in a queue |
| processing | its handling began | the effect was committed |

Source: EIP, Message Store and Correlation Identifier.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from prebook.contracts.conversations import (
    BlockedRecord,
    ConversationRecords,
    ConversationSummary,
    ParkedRecord,
    ReceivedRecord,
    SentRecord,
    Stage,
    StageRecord,
)
from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.plan import Coupling
from prebook.control_room.message_ids import ParsedMessage, parse_message
from prebook.flows import ALL_FLOWS
from prebook.messaging.envelope import MessageKind, request_id_of
from prebook.messaging.outbox.store import ABANDONED_STATES, LOCAL_ROUTE, OutboxState

MAX_MESSAGES = 256
USUAL_STAGES = frozenset({Stage.SENT, Stage.HANDLED})
REQUESTING_SERVICES = frozenset(flow.caller for flow in ALL_FLOWS)
"""Services whose replies may wait for replies of others: when a reply was made says nothing about the request's
handling."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Stage of a message other than being sent and handled once."""

    service: str
    stage: Stage
    at: datetime
    attempt: int
    seconds: float
    """Delay until the next attempt, of stage ``retried``; otherwise 0."""
    detail: str


class MessageTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one service. A time or duration that no record tells is null."""

    number: int
    """Position in the timeline, from 1."""
    message_id: str
    name: str
    """Flow, or type of the event."""
    key: str
    """Key that tells the message from others of its flow, such as the fleet; mostly empty."""
    kind: MessageKind
    type: str | None
    """CloudEvents type, such as that of the reply that was given."""
    coupling: Coupling
    sender: str
    receiver: str | None
    """Null for an event without subscribers."""
    state: str
    """``handled``, ``published``, ``in_outbox``, ``under_way``, ``blocked``, ``parked``, ``expired``,
    ``undeliverable`` or ``discarded``."""
    created_at: datetime | None
    left_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    outbox_s: float | None
    queue_s: float | None
    processing_s: float | None
    is_measured: bool
    """Whether the process that handled it still remembers when. If not, times are those of transactions."""
    is_timeout: bool
    """Whether it is the synthetic reply that the caller gave itself, in place of one that did not come in time."""
    attempt: int
    """Number of the latest attempt that is known."""
    send_failures: int
    error: str
    attempts: tuple[Attempt, ...]


@dataclass
class _Records:
    """Records of one service, by message id. Replicas share the tables and remember stages of their own."""

    sent: dict[str, SentRecord] = field(default_factory=dict)
    received: dict[str, ReceivedRecord] = field(default_factory=dict)
    blocked: dict[str, BlockedRecord] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    stages: dict[str, list[StageRecord]] = field(default_factory=lambda: defaultdict(list))

    def add(self, records: ConversationRecords) -> None:
        self.sent |= {record.message_id: record for record in records.sent}
        self.received |= {record.message_id: record for record in records.received}
        self.blocked |= {record.message_id: record for record in records.blocked}
        self.pending |= {record.message_id for record in records.pending}
        for record in records.stages:
            self.stages[record.message_id].append(record)

    @property
    def ids(self) -> set[str]:
        return {*self.sent, *self.received, *self.blocked, *self.pending, *self.stages}

    def first(self, message_id: str, stage: Stage) -> StageRecord | None:
        return next((record for record in self.stages.get(message_id, ()) if record.stage is stage), None)


def trace_messages(
    summary: ConversationSummary, records: Iterable[ConversationRecords], parked: Sequence[ParkedRecord] = ()
) -> Sequence[MessageTrace]:
    """Return the messages of a conversation in the order of their times, at most ``MAX_MESSAGES``."""
    services: dict[str, _Records] = defaultdict(_Records)
    for each in records:
        services[each.service].add(each)
    ids = set().union(*(service.ids for service in services.values()), (letter.message_id for letter in parked))
    messages = (parse_message(summary.id, message_id) for message_id in sorted(ids))
    traces = [
        _MessageRecords(message, receiver, services, parked).trace(summary.couplings)
        for message in messages
        if message is not None
        for receiver in message.receivers
    ]
    traces.sort(key=lambda trace: (_first_time(trace) or summary.requested_at, trace.message_id))
    return [msgspec.structs.replace(trace, number=number) for number, trace in enumerate(traces[:MAX_MESSAGES], 1)]


def _first_time(trace: MessageTrace) -> datetime | None:
    times = (trace.created_at, trace.began_at, *(attempt.at for attempt in trace.attempts))
    return min((time for time in times if time), default=None)


class _MessageRecords:
    """Records of one message at its sender and at one receiver."""

    def __init__(
        self,
        message: ParsedMessage,
        receiver: str | None,
        services: Mapping[str, _Records],
        parked: Sequence[ParkedRecord],
    ) -> None:
        self._message = message
        self._receiver = receiver
        self._to = services.get(receiver or "", _Records())
        from_provider = services.get(message.sender, _Records())
        self._request_at_provider = from_provider.received.get(request_id_of(message.id))
        self._received = self._to.received.get(message.id)
        self._is_timeout = message.sender in services and self._is_synthetic(from_provider)
        self._sender = (receiver or message.sender) if self._is_timeout else message.sender
        self._from = _Records() if self._is_timeout else from_provider
        row = self._from.sent.get(message.id)
        self._row = row if row is not None and row.route != LOCAL_ROUTE else None
        accepted = self._to.sent.get(message.id)
        self._accepted = accepted if accepted is not None and accepted.route == LOCAL_ROUTE else None
        self._parked = next(
            (
                letter
                for letter in reversed(parked)
                if letter.message_id == message.id
                and (message.kind is not MessageKind.EVENT or letter.queue.startswith(f"{receiver}."))
            ),
            None,
        )

    def _is_synthetic(self, provider: _Records) -> bool:
        """Return whether the caller had a reply before the provider made one, or without that."""
        if self._message.kind is not MessageKind.REPLY or self._received is None:
            return False
        if self._message.id in provider.sent or self._message.id in provider.stages:
            return False
        made_at = self._request_at_provider.replied_at if self._request_at_provider else None
        return made_at is None or self._received.received_at < made_at

    def trace(self, couplings: Mapping[str, Coupling]) -> MessageTrace:
        """Return the trace, without its number."""
        message = self._message
        coupling = Coupling.ONE_WAY if message.kind is MessageKind.EVENT else couplings[message.name]
        handled = self._to.first(message.id, Stage.HANDLED)
        sent = None if coupling is Coupling.SYNC_API else self._from.first(message.id, Stage.SENT)
        began_at, ended_at = self._processing(handled)
        created_at = self._created_at(began_at)
        left_at = created_at if self._is_inline(coupling) else self._left_at(sent, began_at)
        due_at = max(created_at, self._row.due_at) if created_at and self._row else created_at
        attempts = self._attempts()
        return MessageTrace(
            number=0,
            message_id=message.id,
            name=message.name,
            key=message.key,
            kind=message.kind,
            type=self._type(),
            coupling=coupling,
            sender=self._sender,
            receiver=self._receiver,
            state=self._state(handled),
            created_at=created_at,
            left_at=left_at,
            began_at=began_at,
            ended_at=ended_at,
            outbox_s=_seconds(due_at, left_at),
            queue_s=_seconds(left_at or due_at, began_at),
            processing_s=_seconds(began_at, ended_at),
            is_measured=handled is not None,
            is_timeout=self._is_timeout,
            attempt=max((1, *(attempt.attempt for attempt in attempts), *([handled.attempt] if handled else []))),
            send_failures=self._row.failures if self._row else 0,
            error=self._error(),
            attempts=attempts,
        )

    def _type(self) -> str | None:
        for row in (self._row, self._accepted):
            if row is not None:
                return row.type
        is_reply = self._message.kind is MessageKind.REPLY and not self._is_timeout
        return self._request_at_provider.reply_type if is_reply and self._request_at_provider else None

    def _is_inline(self, coupling: Coupling) -> bool:
        return self._row is None and (coupling is Coupling.SYNC_API or self._is_timeout)

    def _processing(self, handled: StageRecord | None) -> tuple[datetime | None, datetime | None]:
        if handled is not None:
            return handled.at - timedelta(seconds=handled.seconds), handled.at
        if self._received is None:
            return None, None
        ended_at = None if self._receiver in REQUESTING_SERVICES else self._received.replied_at
        return self._received.received_at, ended_at

    def _created_at(self, began_at: datetime | None) -> datetime | None:
        if self._row is not None:
            return self._row.created_at
        inline = self._from.first(self._message.id, Stage.SENT)
        if inline is not None:
            return inline.at - timedelta(seconds=inline.seconds)
        if self._accepted is not None:
            return self._accepted.created_at
        if self._message.kind is MessageKind.REPLY and self._request_at_provider and not self._is_timeout:
            return self._request_at_provider.replied_at
        return began_at

    def _left_at(self, sent: StageRecord | None, began_at: datetime | None) -> datetime | None:
        if sent is not None:
            return sent.at - timedelta(seconds=sent.seconds)
        if self._row is None or self._row.sent_at is None:
            return None
        return min(self._row.sent_at, began_at) if began_at else self._row.sent_at

    def _state(self, handled: StageRecord | None) -> str:
        if self._received is not None or handled is not None:
            return "handled"
        if self._parked is not None and self._parked.state is not DeadLetterState.RESOLVED:
            return "discarded" if self._parked.state is DeadLetterState.DISCARDED else "parked"
        if self._message.id in self._to.blocked:
            return "blocked"
        return self._state_under_way()

    def _state_under_way(self) -> str:
        states = [row.state for row in (self._row, self._accepted) if row is not None]
        if abandoned := [state for state in states if state in ABANDONED_STATES]:
            return abandoned[0]
        if self._to.first(self._message.id, Stage.EXPIRED):
            return "expired"
        if self._row is not None and self._row.state == OutboxState.WAITING:
            return "in_outbox"
        return "under_way" if self._receiver else "published"

    def _error(self) -> str:
        blocked = self._to.blocked.get(self._message.id)
        rows = [row.error for row in (self._row, self._accepted) if row is not None and row.error]
        found = [self._parked.error if self._parked else "", blocked.error if blocked else "", *rows]
        return next((error for error in found if error), "")

    def _attempts(self) -> tuple[Attempt, ...]:
        sides = {self._sender: self._from, self._receiver or self._sender: self._to}
        found = [
            Attempt(
                service=service,
                stage=record.stage,
                at=record.at,
                attempt=record.attempt,
                seconds=record.seconds,
                detail=record.detail,
            )
            for service, records in sides.items()
            for record in records.stages.get(self._message.id, ())
            if record.stage not in USUAL_STAGES
        ]
        is_known = any(attempt.stage is Stage.DEAD_LETTERED for attempt in found)
        if self._parked is not None and not is_known:
            found.append(_parking_of(self._parked, self._receiver or self._sender))
        return tuple(sorted(found, key=lambda attempt: attempt.at))


def _parking_of(letter: ParkedRecord, service: str) -> Attempt:
    return Attempt(
        service=service,
        stage=Stage.DEAD_LETTERED,
        at=letter.last_failed_at,
        attempt=letter.attempts,
        seconds=0.0,
        detail=letter.cause,
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two times, 0 if the clocks of two processes contradict each other."""
    return max(0.0, (end - start).total_seconds()) if start and end else None
