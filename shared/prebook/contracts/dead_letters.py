"""What operations tells about parked messages, and what it is asked to do with them: its HTTP bodies."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[ -~]+$")]
Header = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class ParkedState(StrEnum):
    """``resolved``: its receiver's inbox has it. What is discarded stays, and can be restored."""

    PARKED = "parked"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class ParkedLine(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    state: ParkedState
    group: str
    """Messages that failed in the same way at the same place are of one group."""
    cause: str
    error_type: str
    error: str
    queue: str
    """Where it could not be handled."""
    exchange: str
    """With ``key``: where it was first published to; empty where nothing says so."""
    key: str
    flow: str
    kind: str
    type: str
    message_id: str
    conversation: str
    trace_id: str
    attempts: int
    parkings: int
    """How often it has been parked: more than once where it failed again after a replay."""
    first_failed_at: datetime
    last_failed_at: datetime
    payload_bytes: int
    version: int
    """0: as it came; else the number of its last edit."""
    reason: str
    """Why it was discarded."""


class ParkedPage(msgspec.Struct, frozen=True, kw_only=True):
    lines: tuple[ParkedLine, ...]
    next: str | None
    """Hand it back as ``after``; null at the end."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of the two: text where the bytes are UTF-8, else base64."""

    text: str | None = None
    base64: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    text: str


class Parking(msgspec.Struct, frozen=True, kw_only=True):
    """One of the times that it was parked. ``replay``: the one that it failed in; empty the first time."""

    at: datetime
    cause: str
    error: str
    attempts: int
    replay: str


class Version(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    at: datetime
    reason: str
    headers: dict[str, str]
    payload: Payload


class ParkedView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one message. ``headers`` and ``payload`` are as they came; edits stand beside them."""

    line: ParkedLine
    headers: dict[str, str]
    payload: Payload
    payload_cut: bool
    """It was too large to be kept whole, and can be replayed only once it has been edited."""
    versions: tuple[Version, ...]
    parkings: tuple[Parking, ...]
    notes: tuple[Note, ...]
    replays: tuple[str, ...]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    cause: str
    error_type: str
    error: str
    """Of the message that failed last."""
    type: str
    queue: str
    messages: int
    oldest: datetime
    newest: datetime


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    groups: tuple[Group, ...]
    messages: int


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is given must be equal; nothing given: every message of the state."""

    group: Name | None = None
    cause: Name | None = None
    queue: Name | None = None
    type: Name | None = None
    flow: Name | None = None
    conversation: Name | None = None
    message_id: Name | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Either of the two: ``ids``, or all that ``where`` fits now. What comes later is not touched."""

    ids: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=5000)] | None = None
    where: Filter | None = None


class DiscardRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    selection: Selection
    reason: Text


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    selection: Selection


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """``ids`` that changed their state; those that were selected and are not here were in another state."""

    ids: tuple[int, ...]


class NoteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Text


class EditRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``headers`` are set over the ones there, null takes one away. Without ``payload`` it stays as it is."""

    reason: Text
    headers: Annotated[dict[Name, Header | None], msgspec.Meta(max_length=100)] = {}
    payload: Payload | None = None
