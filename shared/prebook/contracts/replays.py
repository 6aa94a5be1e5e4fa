"""What operations tells about replays of parked messages, and what services tell it: HTTP bodies."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from prebook.contracts.dead_letters import DeadLetterSelection


class RedeliveryState(StrEnum):
    """A message in a replay.

    ``failed_again``: parked once more. ``held``: one before it in its conversation failed again. ``unconfirmed``: sent,
    and neither admitted nor parked again for a long time. ``refused``: the broker routes it to no queue.
    """

    REQUESTED = "requested"
    IN_FLIGHT = "in_flight"
    RESOLVED = "resolved"
    FAILED_AGAIN = "failed_again"
    BLOCKED = "held"
    CANCELLED = "cancelled"
    UNCONFIRMED = "unconfirmed"
    UNROUTABLE = "refused"


class ReplayState(StrEnum):
    """``draining``: nothing more is sent, what is in flight is waited for. ``stopped``: the same cause came back."""

    DRY_RUN = "dry_run"
    RUNNING = "running"
    DRAINING = "draining"
    DONE = "done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    selection: DeadLetterSelection
    dry_run: bool = False
    rate_per_s: Annotated[float, msgspec.Meta(ge=0.01, le=1000)] | None = None
    """Messages a second; without it batches of 1, 2, 5, 20, ... each sent when the one before is settled."""
    keep_going: bool = False
    """Do not stop when the same cause comes back."""
    force: bool = False
    """Send also what is older than the receivers' inboxes remember: it may have its effect a second time."""


class IneligibleMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of the selection that are not in the replay. ``ids``: the first hundred of them."""

    reason: str
    messages: int
    ids: tuple[int, ...]


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Empty for a dry run, which is not kept."""
    state: ReplayState
    reason: str
    created_at: datetime
    ended_at: datetime | None
    messages: int
    counts: dict[RedeliveryState, int]
    duplicates: int
    """Its receiver had admitted it before: it was not sent, or had no effect."""
    beyond_retention: int
    """Sent by force though too old for the receiver's inbox to know it: each may have had its effect twice."""
    batches: tuple[int, ...]
    """Sizes of the batches to come in a dry run; of those sent else."""
    ineligible: tuple[IneligibleMessages, ...]


class ReplayPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest hundred."""

    replays: tuple[ReplayView, ...]


class InboxRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /inbox/{message_id}`` of every service: when it let the message take effect."""

    received_at: datetime
