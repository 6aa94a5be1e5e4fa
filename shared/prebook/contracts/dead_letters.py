"""HTTP bodies of operations about dead letters: summaries, details, and requests to change them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

PositiveId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
NonEmptyText = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
PrintableText = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[ -~]+$")]
HeaderValue = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class DeadLetterState(StrEnum):
    """State of a dead letter.

    ``resolved``: the receiver's inbox holds the message. A discarded message is kept and can be restored.
    """

    PARKED = "parked"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class DeadLetterSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as lists show it."""

    id: int
    state: DeadLetterState
    failure_group: str
    """Messages that failed in the same way at the same place share a group."""
    cause: str
    error_type: str
    error: str
    queue: str
    """The queue whose consumer could not handle it."""
    exchange: str
    """With ``routing_key``: where it was first published; empty if unknown."""
    routing_key: str
    flow: str
    kind: str
    type: str
    message_id: str
    conversation_id: str
    trace_id: str
    attempts: int
    times_parked: int
    """How often it was parked: more than once if it failed again after a replay."""
    first_failed_at: datetime
    last_failed_at: datetime
    payload_bytes: int
    version: int
    """0: as received; otherwise the number of the latest edit."""
    reason: str
    """Why it was discarded."""
    operator: str
    """Who discarded or restored it last; empty if nobody did."""


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of dead letters."""

    dead_letters: tuple[DeadLetterSummary, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; null on the last page."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Message body: either ``text``, if the bytes are UTF-8, or ``base64``."""

    text: str | None = None
    base64: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Note of an operator."""

    at: datetime
    operator: str
    text: str


class DeadLetterFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One parking of a message. ``replay``: id of the replay in which it failed; empty the first time."""

    at: datetime
    cause: str
    error: str
    attempts: int
    replay: str


class DeadLetterVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One edit of a dead letter: the complete message after it."""

    number: int
    at: datetime
    reason: str
    operator: str
    headers: dict[str, str]
    payload: Payload


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """All details of a dead letter. ``headers`` and ``payload`` are as received; ``versions`` has the edits."""

    summary: DeadLetterSummary
    headers: dict[str, str]
    payload: Payload
    payload_truncated: bool
    """The payload was too large to store whole; the message can be replayed only after an edit."""
    versions: tuple[DeadLetterVersion, ...]
    failures: tuple[DeadLetterFailure, ...]
    notes: tuple[Note, ...]
    replays: tuple[str, ...]


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that failed in the same way at the same place."""

    failure_group: str
    cause: str
    error_type: str
    error: str
    """The error of the message that failed last."""
    type: str
    queue: str
    messages: int
    oldest: datetime
    newest: datetime


class FailureGroups(msgspec.Struct, frozen=True, kw_only=True):
    """All failure groups, with the number of their messages."""

    groups: tuple[FailureGroup, ...]
    messages: int


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Filter whose given fields must all match. An empty filter matches every message."""

    failure_group: PrintableText | None = None
    cause: PrintableText | None = None
    queue: PrintableText | None = None
    type: PrintableText | None = None
    flow: PrintableText | None = None
    conversation_id: PrintableText | None = None
    message_id: PrintableText | None = None


class DeadLetterSelection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Selection of dead letters: either ``ids``, or those that match ``where`` at the time of the request."""

    ids: Annotated[tuple[PositiveId, ...], msgspec.Meta(min_length=1, max_length=5000)] | None = None
    where: DeadLetterFilter | None = None


class DiscardRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to discard dead letters."""

    selection: DeadLetterSelection
    reason: NonEmptyText


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to park discarded dead letters again."""

    selection: DeadLetterSelection


class ChangedDeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the messages whose state changed; selected messages in another state are missing here."""

    ids: tuple[int, ...]


class NoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to add a note to a dead letter."""

    text: NonEmptyText


class EditRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to edit a dead letter.

    ``headers`` replace those of the same name; null removes one. Without ``payload`` the body stays.
    """

    reason: NonEmptyText
    headers: Annotated[dict[PrintableText, HeaderValue | None], msgspec.Meta(max_length=100)] = {}
    payload: Payload | None = None
