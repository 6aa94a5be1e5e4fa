"""What operations keeps: parked messages with all that was done to them, and replays. All of it in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.contracts.dead_letters import (
    Changed,
    Filter,
    Groups,
    ParkedLine,
    ParkedState,
    ParkedView,
    Selection,
)
from prebook.contracts.replays import ItemState, ReplayState, ReplayView
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.operations.dead_letters.record import Noted
from prebook.operations.replays.eligibility import Candidate


@dataclass(frozen=True, kw_only=True)
class NewReplay:
    """``items`` in the order of sending; ``aged``: ids that the receivers' inboxes may have forgotten."""

    id: str
    items: Sequence[Candidate]
    aged: frozenset[int]
    refused: bytes
    """Refusals, as JSON."""
    rate_per_s: float | None
    keep_going: bool
    force: bool


@dataclass(frozen=True, kw_only=True)
class Claimed:
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
    same_cause: int
    """How many failed again as they had failed before."""


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A message of a replay that is to be sent, or was and is not settled."""

    replay_id: str
    parked_id: int
    queue: str
    exchange: str
    key: str
    message_id: str
    headers: Mapping[str, str]
    payload: bytes
    is_sent: bool


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a message in flight came to: admitted at its receiver, or refused by the broker."""

    parked_id: int
    state: ItemState
    admitted_at: datetime | None = None
    error: str = ""


class Unstorable(Exception):
    """The database cannot hold this message in this form, however often it is tried."""


class ParkedWork(UnitOfWork, Protocol):
    async def take_in(self, noted: Noted) -> bool:
        """Note a parked message; False where this parking of it is known. One of a live replay has failed again.

        Raises Unstorable.
        """
        ...

    async def lines(
        self, states: Sequence[ParkedState], where: Filter, before: int, limit: int
    ) -> Sequence[ParkedLine]:
        """The newest first: those with an id below ``before``."""
        ...

    async def groups(self, state: ParkedState) -> Groups: ...

    async def view(self, parked_id: int) -> ParkedView | None: ...

    async def note(self, parked_id: int, text: str) -> bool:
        """False where there is no such message."""
        ...

    async def edit(self, parked_id: int, headers: Mapping[str, str | None], payload: bytes | None, reason: str) -> int:
        """The number of the new version; 0 where there is no such message, or it is not parked now."""
        ...

    async def discard(self, selection: Selection, reason: str) -> Changed: ...

    async def restore(self, selection: Selection) -> Changed: ...


class ReplayWork(UnitOfWork, Protocol):
    async def candidates(self, selection: Selection) -> Sequence[Candidate]:
        """By ids: whatever their state; by a filter: those that are parked. Locked until the end of the work."""
        ...

    async def begin_replay(self, new: NewReplay) -> None: ...

    async def replay(self, replay_id: str) -> ReplayView | None: ...

    async def replays(self, limit: int) -> Sequence[ReplayView]: ...

    async def cancel(self, replay_id: str) -> bool:
        """Send nothing more; False where it has ended or never was."""
        ...

    async def claim(self, holder: str, lease_s: float) -> Sequence[Claimed]:
        """The replays that have not ended and that nobody else holds a lease on."""
        ...

    async def take_off(self, replay_id: str, limit: int) -> int:
        """Mark the next messages as in flight, in order, one of each lane; how many."""
        ...

    async def in_flight(self, replay_id: str) -> Sequence[Flight]: ...

    async def sent(self, replay_id: str, parked_ids: Sequence[int]) -> None: ...

    async def land(self, replay_id: str, landings: Sequence[Landing]) -> None: ...

    async def give_up_on(self, replay_id: str, older_than_s: float) -> int:
        """Those sent so long ago and never heard of again are unconfirmed; how many."""
        ...

    async def hold(self, replay_id: str) -> None:
        """Those behind one that failed again, in its lane, stay."""
        ...

    async def stop(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        """Send nothing more."""
        ...

    async def end(self, replay_id: str, state: ReplayState) -> None: ...


class OperationsWork(ParkedWork, ReplayWork, Protocol):
    """Both."""
