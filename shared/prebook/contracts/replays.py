"""HTTP bodies about replays of dead letters, and the inbox record that services return."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from prebook.contracts.dead_letters import DeadLetterSelection


class RedeliveryState(StrEnum):
    """State of one message in a replay.

    ``failed_again``: parked once more. ``blocked``: an earlier message of its conversation failed again.
    ``unconfirmed``: dispatched, and for a long time neither in the receiver's inbox nor parked again. ``refused``: the
    broker refuses it or routes it to no queue, or it cannot be encoded.
    """

    REQUESTED = "requested"
    IN_FLIGHT = "in_flight"
    RESOLVED = "resolved"
    FAILED_AGAIN = "failed_again"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"


class ReplayState(StrEnum):
    """State of a replay.

    ``draining``: no more messages are sent; those in flight are awaited. ``stopped``: a message failed again for the
    same cause.
    """

    DRY_RUN = "dry_run"
    RUNNING = "running"
    DRAINING = "draining"
    DONE = "done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to send selected dead letters again."""

    selection: DeadLetterSelection
    dry_run: bool = False
    rate_per_s: Annotated[float, msgspec.Meta(ge=0.01, le=1000)] | None = None
    """Messages per second; without it, batches of 1, 2, 5, 20, ..., each sent when the previous one is settled."""
    keep_going: bool = False
    """Continue when a message fails again for the same cause."""
    force: bool = False
    """Also send messages older than the receivers' deduplication window: they may take effect a second time."""


class MessagesByReason(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of a replay that were not sent for one reason. ``ids`` has the first hundred."""

    reason: str
    messages: int
    ids: tuple[int, ...]


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """A replay and its progress."""

    id: str
    """Empty for a dry run, which is not stored."""
    state: ReplayState
    reason: str
    operator: str
    """Who started it."""
    created_at: datetime
    ended_at: datetime | None
    messages: int
    counts: dict[RedeliveryState, int]
    duplicates: int
    """Messages that the receiver's inbox already held: not sent, or without effect."""
    beyond_retention: int
    """Messages sent by force although older than the deduplication window: each may have taken effect twice."""
    batches: tuple[int, ...]
    """Batch sizes: planned ones in a dry run, sent ones otherwise."""
    ineligible: tuple[MessagesByReason, ...]
    """Selected messages that the replay leaves out."""
    refused: tuple[MessagesByReason, ...] = ()
    """Messages in the state ``refused``, in the words of the broker; at most 20 reasons."""


class ReplayPage(msgspec.Struct, frozen=True, kw_only=True):
    """The hundred newest replays."""

    replays: tuple[ReplayView, ...]


class InboxRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET /inbox/{message_id}`` of every service: when the message took effect."""

    received_at: datetime
