"""Reports: the archive's contents, and the result of each replay from it, printed and kept as an audit line."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.messaging.headers import UNDECODABLE_HEADER
from prebook.replay.archive_selection import OriginalFilter
from prebook.replay.archived_message import ArchivedMessage

T = TypeVar("T", int, datetime)


class ArchiveRetention(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that the broker applies. The broker removes whole segments, so the stream may hold more."""

    max_age: str
    max_bytes: int
    segment_bytes: int


class ArchiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of the archive. ``messages`` counts each message once; ``copies`` are further copies of them."""

    retention: ArchiveRetention
    messages: int
    copies: int
    payload_bytes: int
    """Size of all bodies, without headers and the broker's overhead."""
    undecodable: int
    """Messages with properties or headers that the client could not decode; they are counted by type all the same."""
    first_offset: int | None
    last_offset: int | None
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    """Event times of the earliest and of the latest message."""
    types: dict[str, int]
    routing_keys: dict[str, int]


class ArchiveTally:
    """Counters over archived messages, from which an ArchiveStatus is made."""

    def __init__(self) -> None:
        self._is_original = OriginalFilter()
        self.copies = 0
        self.payload_bytes = 0
        self.undecodable = 0
        self.types: Counter[str] = Counter()
        self.routing_keys: Counter[str] = Counter()
        self.offsets: tuple[int, ...] = ()
        self.times: tuple[datetime, ...] = ()

    def add(self, message: ArchivedMessage) -> None:
        """Count a message as an original by type and routing key, or as a copy that a replay has published."""
        self.payload_bytes += len(message.wire.body)
        self.undecodable += UNDECODABLE_HEADER in message.headers
        self.offsets = _min_max(self.offsets, message.offset)
        if not self._is_original(message):
            self.copies += 1
            return
        self.types[message.type or "(none)"] += 1
        self.routing_keys[message.routing_key] += 1
        if message.occurred_at is not None:
            self.times = _min_max(self.times, message.occurred_at)

    def status(self, retention: ArchiveRetention) -> ArchiveStatus:
        """Return the counts so far, with the archive's ``retention``."""
        return ArchiveStatus(
            retention=retention,
            messages=self.types.total(),
            copies=self.copies,
            payload_bytes=self.payload_bytes,
            undecodable=self.undecodable,
            first_offset=min(self.offsets, default=None),
            last_offset=max(self.offsets, default=None),
            first_occurred_at=min(self.times, default=None),
            last_occurred_at=max(self.times, default=None),
            types=dict(sorted(self.types.items())),
            routing_keys=dict(sorted(self.routing_keys.items())),
        )


class ArchiveReplayState(StrEnum):
    """State of a replay from the archive."""

    DRY_RUN = "dry_run"
    """Nothing is sent; the report has what would be sent."""
    RUNNING = "running"
    INELIGIBLE = "ineligible"
    """Nothing was sent, because a selected message is ineligible; ``unsent`` has the reasons."""
    DONE = "done"
    INTERRUPTED = "interrupted"
    """Ended before the last message, by Ctrl-C or a broker outage."""


class ReplayEffects(msgspec.Struct, frozen=True):
    """Redeliveries, counted by what the receivers' inboxes hold."""

    duplicates: int
    """Held before the replay: no effect."""
    new: int
    """Held since the replay, or, in a dry run, not held yet."""
    unconfirmed: int
    """Sent and not held yet."""


class UnsentMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that were not sent, by reason: a value of IneligibleReason, ``cause: text`` of a decoding error, or the
    error that ended the replay.
    """

    reason: str
    messages: int


class ArchiveReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one replay from the archive. A redelivery is one message to one receiver."""

    id: str
    requested_at: datetime
    requested_by: str
    """The account on this machine that ran the command."""
    state: ArchiveReplayState
    selection: dict[str, str]
    rate_per_s: float
    ignore_expiry: bool
    """Whether requests were sent without their expiry."""
    force: bool
    """Whether messages older than the inbox deduplication window were sent: each may have taken effect twice."""
    receivers: tuple[str, ...]
    """Names of the queues."""
    messages: int
    """Number of selected messages, each counted once."""
    without_receiver: int
    """Number of selected messages that no chosen receiver subscribes to."""
    forbidden: int = 0
    """Number of further messages that are left out, because their senders may not send them to the receivers."""
    redeliveries: int
    sent: int
    duplicates: int | None
    """Redeliveries that the receiver's inbox already held: no effect. None if no inbox could be read."""
    new_effects: int | None
    """Redeliveries new to the receiver's inbox: held since the replay, or, in a dry run, not held yet."""
    unconfirmed: int | None
    """Redeliveries sent and not in the receiver's inbox yet: in flight, being retried, or parked."""
    unsent: tuple[UnsentMessages, ...]


def _min_max(found: Sequence[T], new: T) -> tuple[T, T]:
    return min(*found, new, new), max(*found, new, new)
