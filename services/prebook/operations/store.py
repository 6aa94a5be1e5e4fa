"""What operations keeps: parked messages with all that was done to them, and replays. All of it in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.contracts.dead_letters import (
    ChangedDeadLetters,
    DeadLetterFilter,
    DeadLetterSelection,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterView,
    FailureGroups,
)
from prebook.contracts.replays import RedeliveryState, ReplayState, ReplayView
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.operations.dead_letters.record import DeadLetterRecord
from prebook.operations.replays.eligibility import ReplayCandidate


@dataclass(frozen=True, kw_only=True)
class NewReplay:
    """``items`` in the order of sending; ``beyond_retention``: ids older than the inbox deduplication window."""

    id: str
    items: Sequence[ReplayCandidate]
    beyond_retention: frozenset[int]
    ineligible: bytes
    """Refusals, as JSON."""
    rate_per_s: float | None
    keep_going: bool
    force: bool


@dataclass(frozen=True, kw_only=True)
class LeasedReplay:
    """A replay that is ours to move on, until the lease ends."""

    id: str
    state: ReplayState
    outcome: ReplayState | None
    rate_per_s: float | None
    keep_going: bool
    batches: int
    running_s: float
    requested: int
    in_flight: int
    sent: int
    same_cause_failures: int
    """How many failed again as they had failed before."""


@dataclass(frozen=True, kw_only=True)
class Redelivery:
    """A message of a replay that is to be sent, or was and is not settled."""

    replay_id: str
    dead_letter_id: int
    queue: str
    exchange: str
    routing_key: str
    message_id: str
    headers: Mapping[str, str]
    payload: bytes
    is_sent: bool


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """Where a message in flight came to: admitted at its receiver, or refused by the broker."""

    dead_letter_id: int
    state: RedeliveryState
    received_at: datetime | None = None
    error: str = ""


class UnstorableMessage(Exception):
    """The database cannot hold this message in this form, however often it is tried."""


class DeadLetterWork(UnitOfWork, Protocol):
    async def add_dead_letter(self, record: DeadLetterRecord) -> bool:
        """Record a dead letter; False if this occurrence is known. A message of a live replay has failed again.

        Raises UnstorableMessage.
        """
        ...

    async def list_dead_letters(
        self, states: Sequence[DeadLetterState], where: DeadLetterFilter, before: int, limit: int
    ) -> Sequence[DeadLetterSummary]:
        """The newest first: those with an id below ``before``."""
        ...

    async def list_groups(self, state: DeadLetterState) -> FailureGroups: ...

    async def find_dead_letter(self, dead_letter_id: int) -> DeadLetterView | None: ...

    async def add_note(self, dead_letter_id: int, text: str) -> bool:
        """False where there is no such message."""
        ...

    async def edit(
        self, dead_letter_id: int, headers: Mapping[str, str | None], payload: bytes | None, reason: str
    ) -> int:
        """The number of the new version; 0 where there is no such message, or it is not parked now."""
        ...

    async def discard(self, selection: DeadLetterSelection, reason: str) -> ChangedDeadLetters: ...

    async def restore(self, selection: DeadLetterSelection) -> ChangedDeadLetters: ...


class ReplayWork(UnitOfWork, Protocol):
    async def lock_candidates(self, selection: DeadLetterSelection) -> Sequence[ReplayCandidate]:
        """By ids: whatever their state; by a filter: those that are parked. Locked until the end of the work."""
        ...

    async def create_replay(self, new: NewReplay) -> None: ...

    async def find_replay(self, replay_id: str) -> ReplayView | None: ...

    async def list_replays(self, limit: int) -> Sequence[ReplayView]: ...

    async def cancel_replay(self, replay_id: str) -> bool:
        """Send nothing more; False where it has ended or never was."""
        ...

    async def claim_replays(self, leased_by: str, lease_s: float) -> Sequence[LeasedReplay]:
        """The replays that have not ended and that nobody else holds a lease on."""
        ...

    async def dispatch_next(self, replay_id: str, limit: int) -> int:
        """Mark the next messages as in flight, in order, one of each ordering key; how many."""
        ...

    async def list_in_flight(self, replay_id: str) -> Sequence[Redelivery]: ...

    async def mark_sent(self, replay_id: str, dead_letter_ids: Sequence[int]) -> None: ...

    async def settle(self, replay_id: str, outcomes: Sequence[DeliveryOutcome]) -> None: ...

    async def mark_unconfirmed(self, replay_id: str, older_than_s: float) -> int:
        """Those sent so long ago and never heard of again are unconfirmed; how many."""
        ...

    async def block_successors(self, replay_id: str) -> None:
        """Block the messages behind one that failed again with the same ordering key."""
        ...

    async def stop_replay(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        """Send nothing more."""
        ...

    async def end_replay(self, replay_id: str, state: ReplayState) -> None: ...


class OperationsWork(DeadLetterWork, ReplayWork, Protocol):
    """Both."""
