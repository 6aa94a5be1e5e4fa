"""HTTP bodies about conversations: what each service has recorded of the messages of one ride. No rider data."""

from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.plan import Coupling

MAX_RECORDS = 256
"""Records of each kind in one response. A ride has about thirty messages."""
MAX_CONVERSATIONS = 20
"""Conversations that one reference may lead to: riders may use equal Idempotency-Keys."""


class Stage(StrEnum):
    """Stage of a message in a process: the calls of ``MessagingObserver``."""

    SENT = "sent"
    SEND_FAILED = "send_failed"
    HANDLED = "handled"
    HANDLING_FAILED = "handling_failed"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"


class StageRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stage of a message, as a process remembers it."""

    message_id: str
    stage: Stage
    at: datetime
    """When the stage ended, on the clock of the process."""
    seconds: float = 0.0
    """Duration of the stage; for ``retried`` the delay until the next attempt."""
    attempt: int = 1
    """Number of the delivery attempt, from 1."""
    detail: str = ""
    """Type and first line of the error, cause of the dead letter, or stage at which the message expired."""


class SentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Row of the outbox."""

    message_id: str
    type: str
    route: str
    """How it leaves; ``local`` for a message that this service has accepted and handles itself."""
    state: str
    attempt: int
    trace_id: str
    created_at: datetime
    due_at: datetime
    """Before this time it is not sent."""
    sent_at: datetime | None
    """When the outbox recorded that the message was handed over, some 10 ms later."""
    failures: int
    """Failed attempts to send it."""
    error: str


class ReceivedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Row of the inbox: a message that has had its effect."""

    message_id: str
    received_at: datetime
    """When the transaction of its effect began."""
    replied_at: datetime | None
    """When the reply to this request was made."""
    reply_type: str | None


class PendingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Request whose reply is awaited, with its deadline."""

    message_id: str
    due_at: datetime


class BlockedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Message that waits because it, or an earlier one of its ordering key, has failed."""

    message_id: str
    status: str
    error: str
    blocked_at: datetime


class ConversationRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/conversations/{conversation_id}`` at a service's internal listener.

    Each list has at most ``MAX_RECORDS`` entries, the oldest first; ``is_complete`` is false if one was cut.
    """

    service: str
    sent: tuple[SentRecord, ...] = ()
    received: tuple[ReceivedRecord, ...] = ()
    pending: tuple[PendingRecord, ...] = ()
    blocked: tuple[BlockedRecord, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    """Of this process alone, and only the recent ones."""
    is_complete: bool = True


class ParkedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letter of a conversation."""

    id: int
    message_id: str
    queue: str
    state: DeadLetterState
    cause: str
    error: str
    attempts: int
    last_failed_at: datetime


class ParkedRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/dead-letters/conversations/{conversation_id}`` at operations' internal listener."""

    parked: tuple[ParkedRecord, ...]


class ConversationChange(msgspec.Struct, frozen=True, kw_only=True):
    """Change of state of a booking or trip."""

    state: str
    at: datetime


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Booking or trip that a conversation is about, without its rider."""

    id: str
    couplings: dict[str, Coupling]
    requested_at: datetime
    history: tuple[ConversationChange, ...]
    notified_at: datetime | None
    reason: str | None
    related: tuple[str, ...] = ()
    """Conversation of the trip that a leg belongs to, or of each leg of a trip."""


class ConversationList(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/conversations?reference=`` at booking's internal listener."""

    conversations: tuple[ConversationSummary, ...]
