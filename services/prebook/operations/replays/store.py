"""Storage port of the replays. A redelivery is one dead letter in one replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.contracts.replays import ReplayState, ReplayView
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.operations.replays.eligibility import ReplayCandidate
from prebook.operations.replays.redelivery import DeliveryOutcome, Redelivery


@dataclass(frozen=True, kw_only=True)
class NewReplay:
    """A replay to create.

    ``candidates``: the dead letters to send, in this order.
    ``beyond_retention``: ids of those older than the receivers' inbox deduplication window.
    ``ineligible``: the selected dead letters that are left out, as JSON of MessagesByReason.
    """

    id: str
    candidates: Sequence[ReplayCandidate]
    beyond_retention: frozenset[int]
    ineligible: bytes
    rate_per_s: float | None
    keep_going: bool
    force: bool
    operator: str
    """Who starts the replay."""


@dataclass(frozen=True, kw_only=True)
class LeasedReplay:
    """A replay that this process may advance until its lease ends, with counts of its redeliveries.

    ``outcome``: end state of a replay that was cancelled or stopped. ``batches``: number of batches sent.
    ``running_s``: age in seconds. ``sent``: redeliveries dispatched so far, settled ones included.
    ``same_cause_failures``: redeliveries that failed again for the cause that parked them before.
    """

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

    def final_state(self) -> ReplayState | None:
        """Return the state in which the replay ends now; None while it has live redeliveries."""
        if self.requested + self.in_flight:
            return None
        return self.outcome or ReplayState.DONE


class ReplayWork(UnitOfWork, Protocol):
    """Unit of work on replays."""

    async def lock_candidates(self, selection: DeadLetterSelection) -> Sequence[ReplayCandidate]:
        """Return the selected dead letters, locked until the end of the transaction.

        A selection by ids contains dead letters of every state, one by filter only parked ones.
        """
        ...

    async def create_replay(self, new: NewReplay) -> None:
        """Store a replay with its redeliveries; its dead letters become ``replaying``."""
        ...

    async def find_replay(self, replay_id: str) -> ReplayView | None:
        """Return a replay; None if there is none with this id."""
        ...

    async def list_replays(self, limit: int) -> Sequence[ReplayView]:
        """Return the newest ``limit`` replays, the newest first."""
        ...

    async def cancel_replay(self, replay_id: str, *, operator: str) -> bool:
        """Stop sending, for ``operator``; return False if the replay has ended or does not exist."""
        ...

    async def claim_replays(self, leased_by: str, lease_s: float) -> Sequence[LeasedReplay]:
        """Lease, for ``lease_s`` seconds, the replays that have not ended and that no other process has leased."""
        ...

    async def dispatch_next(self, replay_id: str, limit: int) -> int:
        """Mark the next redeliveries as in flight and return their number, at most ``limit``.

        A redelivery is next once its predecessor of the same ordering key is resolved.
        """
        ...

    async def list_in_flight(self, replay_id: str) -> Sequence[Redelivery]:
        """Return the redeliveries in flight, in the order of the replay."""
        ...

    async def mark_sent(self, replay_id: str, dead_letter_ids: Sequence[int]) -> None:
        """Record that the broker has confirmed these redeliveries."""
        ...

    async def settle(self, replay_id: str, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Apply the outcomes to the redeliveries that are still in flight, and to their dead letters."""
        ...

    async def mark_unconfirmed(self, replay_id: str, older_than_s: float) -> int:
        """Give up redeliveries that were sent, or could not be sent, for ``older_than_s`` seconds.

        Return their number.
        """
        ...

    async def block_successors(self, replay_id: str) -> None:
        """Block the redeliveries behind a failed one of the same ordering key."""
        ...

    async def stop_replay(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        """Cancel the redeliveries not yet sent; the replay ends as ``outcome`` once none is in flight.

        One that the broker has without a confirm is cancelled too: another replay finds it in the receiver's inbox.
        """
        ...

    async def end_replay(self, replay_id: str, state: ReplayState) -> None:
        """Record the end of the replay."""
        ...
