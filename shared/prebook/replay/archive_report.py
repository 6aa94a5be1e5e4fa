"""What is told of the archive and of each replay from it: counts, the report, the audit line."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.replay.archive_selection import Originals
from prebook.replay.archived_message import Kept

T = TypeVar("T", int, datetime)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """As the broker applies it. Whole segments are removed, so that there may be more than that."""

    max_age: str
    max_bytes: int
    segment_bytes: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` counts each once; ``copies``: those sent or replayed more than once, and so archived again."""

    retention: Retention
    messages: int
    copies: int
    payload_bytes: int
    """Bodies of all that lies there, headers and the broker's own needs not included."""
    first_offset: int | None
    last_offset: int | None
    first_at: datetime | None
    last_at: datetime | None
    """Times at which messages were said; of the earliest and of the latest."""
    types: dict[str, int]
    keys: dict[str, int]


class Tally:
    """Counts what it is shown."""

    def __init__(self) -> None:
        self._is_original, self.copies, self.payload_bytes = Originals(), 0, 0
        self.types, self.keys = Counter[str](), Counter[str]()
        self.offsets: tuple[int, ...] = ()
        self.times: tuple[datetime, ...] = ()

    def add(self, kept: Kept) -> None:
        self.payload_bytes += len(kept.wire.body)
        self.offsets = _ends(self.offsets, kept.offset)
        if not self._is_original(kept):
            self.copies += 1
            return
        self.types[kept.type or "(none)"] += 1
        self.keys[kept.key] += 1
        if kept.said_at is not None:
            self.times = _ends(self.times, kept.said_at)

    def status(self, retention: Retention) -> Status:
        return Status(
            retention=retention,
            messages=self.types.total(),
            copies=self.copies,
            payload_bytes=self.payload_bytes,
            first_offset=min(self.offsets, default=None),
            last_offset=max(self.offsets, default=None),
            first_at=min(self.times, default=None),
            last_at=max(self.times, default=None),
            types=dict(sorted(self.types.items())),
            keys=dict(sorted(self.keys.items())),
        )


class State(StrEnum):
    """``refused``: nothing was sent, the reasons tell why. ``broken_off``: by Ctrl-C or for want of a broker."""

    DRY_RUN = "dry_run"
    RUNNING = "running"
    REFUSED = "refused"
    DONE = "done"
    BROKEN_OFF = "broken_off"


class Effects(msgspec.Struct, frozen=True):
    """Sendings that their receivers had before, that they have only now, and that they do not have yet."""

    known: int
    new: int
    missing: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    messages: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One replay. A sending is one message to one receiver. Also the line that is kept of it."""

    id: str
    at: datetime
    by: str
    """Who gave the command: the account's name on this machine."""
    state: State
    selection: dict[str, str]
    rate_per_s: float
    revive: bool
    """Questions were sent without their end of time."""
    force: bool
    """Sent though the receivers' inboxes may have forgotten it: each may have had its effect twice."""
    receivers: tuple[str, ...]
    """Queues."""
    messages: int
    """Selected, each once."""
    unheard: int
    """Of those, how many no chosen receiver hears."""
    sendings: int
    sent: int
    known: int | None
    """Sendings that the receiver's inbox had before: they have no effect. None: no inbox could be asked."""
    effects: int | None
    """Sendings that the receiver's inbox did not have before and has now; in a dry run those that it does not have."""
    unconfirmed: int | None
    """Sent, not known before, and not in the receiver's inbox yet: under way, being retried, or parked."""
    refusals: tuple[Refusal, ...]


def _ends(found: Sequence[T], new: T) -> tuple[T, T]:
    return min(*found, new, new), max(*found, new, new)
