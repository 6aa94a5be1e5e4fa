"""What is told of the archive and of each replay from it: counts, the report, the audit line."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.replay.archive_selection import OriginalFilter
from prebook.replay.archived_message import ArchivedMessage

T = TypeVar("T", int, datetime)


class ArchiveRetention(msgspec.Struct, frozen=True, kw_only=True):
    """As the broker applies it. Whole segments are removed, so that there may be more than that."""

    max_age: str
    max_bytes: int
    segment_bytes: int


class ArchiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` counts each once; ``copies``: those sent or replayed more than once, and so archived again."""

    retention: ArchiveRetention
    messages: int
    copies: int
    payload_bytes: int
    """Bodies of all that lies there, headers and the broker's own needs not included."""
    first_offset: int | None
    last_offset: int | None
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    """Times at which messages were said; of the earliest and of the latest."""
    types: dict[str, int]
    routing_keys: dict[str, int]


class ArchiveTally:
    """Counts what it is shown."""

    def __init__(self) -> None:
        self._is_original, self.copies, self.payload_bytes = OriginalFilter(), 0, 0
        self.types, self.routing_keys = Counter[str](), Counter[str]()
        self.offsets: tuple[int, ...] = ()
        self.times: tuple[datetime, ...] = ()

    def add(self, message: ArchivedMessage) -> None:
        self.payload_bytes += len(message.wire.body)
        self.offsets = _min_max(self.offsets, message.offset)
        if not self._is_original(message):
            self.copies += 1
            return
        self.types[message.type or "(none)"] += 1
        self.routing_keys[message.routing_key] += 1
        if message.occurred_at is not None:
            self.times = _min_max(self.times, message.occurred_at)

    def status(self, retention: ArchiveRetention) -> ArchiveStatus:
        return ArchiveStatus(
            retention=retention,
            messages=self.types.total(),
            copies=self.copies,
            payload_bytes=self.payload_bytes,
            first_offset=min(self.offsets, default=None),
            last_offset=max(self.offsets, default=None),
            first_occurred_at=min(self.times, default=None),
            last_occurred_at=max(self.times, default=None),
            types=dict(sorted(self.types.items())),
            routing_keys=dict(sorted(self.routing_keys.items())),
        )


class ArchiveReplayState(StrEnum):
    """``refused``: nothing was sent, the reasons tell why. ``broken_off``: by Ctrl-C or for want of a broker."""

    DRY_RUN = "dry_run"
    RUNNING = "running"
    REFUSED = "refused"
    DONE = "done"
    INTERRUPTED = "broken_off"


class ReplayEffects(msgspec.Struct, frozen=True):
    """Sendings that their receivers had before, that they have only now, and that they do not have yet."""

    duplicates: int
    new: int
    unconfirmed: int


class ArchiveReplayRefusal(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    messages: int


class ArchiveReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One replay. A sending is one message to one receiver. Also the line that is kept of it."""

    id: str
    requested_at: datetime
    requested_by: str
    """Who gave the command: the account's name on this machine."""
    state: ArchiveReplayState
    selection: dict[str, str]
    rate_per_s: float
    ignore_expiry: bool
    """Questions were sent without their end of time."""
    force: bool
    """Sent though the receivers' inboxes may have forgotten it: each may have had its effect twice."""
    receivers: tuple[str, ...]
    """Queues."""
    messages: int
    """Selected, each once."""
    without_receiver: int
    """Of those, how many no chosen receiver hears."""
    redeliveries: int
    sent: int
    duplicates: int | None
    """Sendings that the receiver's inbox had before: they have no effect. None: no inbox could be asked."""
    new_effects: int | None
    """Sendings that the receiver's inbox did not have before and has now; in a dry run those that it does not have."""
    unconfirmed: int | None
    """Sent, not known before, and not in the receiver's inbox yet: under way, being retried, or parked."""
    refusals: tuple[ArchiveReplayRefusal, ...]


def _min_max(found: Sequence[T], new: T) -> tuple[T, T]:
    return min(*found, new, new), max(*found, new, new)
