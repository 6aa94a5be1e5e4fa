"""What operations tells about parked messages, and what it is asked to do with them: its HTTP bodies."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

PositiveId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
NonEmptyText = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
PrintableText = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[ -~]+$")]
HeaderValue = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class DeadLetterState(StrEnum):
    """``resolved``: its receiver's inbox has it. What is discarded stays, and can be restored."""

    PARKED = "parked"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class DeadLetterSummary(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    state: DeadLetterState
    failure_group: str
    """Messages that failed in the same way at the same place are of one group."""
    cause: str
    error_type: str
    error: str
    queue: str
    """Where it could not be handled."""
    exchange: str
    """With ``key``: where it was first published to; empty where nothing says so."""
    routing_key: str
    flow: str
    kind: str
    type: str
    message_id: str
    conversation_id: str
    trace_id: str
    attempts: int
    times_parked: int
    """How often it has been parked: more than once where it failed again after a replay."""
    first_failed_at: datetime
    last_failed_at: datetime
    payload_bytes: int
    version: int
    """0: as it came; else the number of its last edit."""
    reason: str
    """Why it was discarded."""


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    dead_letters: tuple[DeadLetterSummary, ...]
    next: str | None
    """Hand it back as ``after``; null at the end."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of the two: text where the bytes are UTF-8, else base64."""

    text: str | None = None
    base64: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    text: str


class DeadLetterFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One of the times that it was parked. ``replay``: the one that it failed in; empty the first time."""

    at: datetime
    cause: str
    error: str
    attempts: int
    replay: str


class DeadLetterVersion(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    at: datetime
    reason: str
    headers: dict[str, str]
    payload: Payload


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one message. ``headers`` and ``payload`` are as they came; edits stand beside them."""

    summary: DeadLetterSummary
    headers: dict[str, str]
    payload: Payload
    payload_truncated: bool
    """It was too large to be kept whole, and can be replayed only once it has been edited."""
    versions: tuple[DeadLetterVersion, ...]
    failures: tuple[DeadLetterFailure, ...]
    notes: tuple[Note, ...]
    replays: tuple[str, ...]


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    failure_group: str
    cause: str
    error_type: str
    error: str
    """Of the message that failed last."""
    type: str
    queue: str
    messages: int
    oldest: datetime
    newest: datetime


class FailureGroups(msgspec.Struct, frozen=True, kw_only=True):
    groups: tuple[FailureGroup, ...]
    messages: int


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is given must be equal; nothing given: every message of the state."""

    failure_group: PrintableText | None = None
    cause: PrintableText | None = None
    queue: PrintableText | None = None
    type: PrintableText | None = None
    flow: PrintableText | None = None
    conversation_id: PrintableText | None = None
    message_id: PrintableText | None = None


class DeadLetterSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Either of the two: ``ids``, or all that ``where`` fits now. What comes later is not touched."""

    ids: Annotated[tuple[PositiveId, ...], msgspec.Meta(min_length=1, max_length=5000)] | None = None
    where: DeadLetterFilter | None = None


class DiscardRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    selection: DeadLetterSelection
    reason: NonEmptyText


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    selection: DeadLetterSelection


class ChangedDeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """``ids`` that changed their state; those that were selected and are not here were in another state."""

    ids: tuple[int, ...]


class NoteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: NonEmptyText


class EditRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``headers`` are set over the ones there, null takes one away. Without ``payload`` it stays as it is."""

    reason: NonEmptyText
    headers: Annotated[dict[PrintableText, HeaderValue | None], msgspec.Meta(max_length=100)] = {}
    payload: Payload | None = None
