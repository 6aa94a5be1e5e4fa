"""Which messages a replay may take, in which order, and how it ends."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.messaging.codec import SAFE_ID

ITEM_TRANSITIONS: dict[RedeliveryState, frozenset[RedeliveryState]] = {
    RedeliveryState.REQUESTED: frozenset(
        {RedeliveryState.IN_FLIGHT, RedeliveryState.BLOCKED, RedeliveryState.CANCELLED}
    ),
    RedeliveryState.IN_FLIGHT: frozenset(
        {
            RedeliveryState.RESOLVED,
            RedeliveryState.FAILED_AGAIN,
            RedeliveryState.UNCONFIRMED,
            RedeliveryState.UNROUTABLE,
        }
    ),
}
"""What may come after; every other state is the end."""
LIVE_STATES = frozenset(ITEM_TRANSITIONS)


@dataclass(frozen=True, kw_only=True)
class ReplayCandidate:
    """What must be known of a parked message to send it again."""

    id: int
    state: DeadLetterState
    queue: str
    message_id: str
    conversation_id: str
    occurred_at: datetime
    """When it was said; where that is unknown, when it failed first."""
    version: int
    is_complete: bool = True
    """Nothing of its payload was cut off."""


@dataclass(frozen=True, kw_only=True)
class ReplayPolicy:
    now: datetime
    inbox_dedup_s: float
    """So long do the receivers' inboxes remember what they admitted."""
    queues: Collection[str]
    """Those that services consume."""
    force: bool = False

    def is_beyond_retention(self, candidate: ReplayCandidate) -> bool:
        return candidate.occurred_at < self.now - timedelta(seconds=self.inbox_dedup_s)


IneligibilityRule = tuple[Callable[[ReplayCandidate, ReplayPolicy], bool], str]
INELIGIBILITY_RULES: tuple[IneligibilityRule, ...] = (
    (lambda c, _: c.state is DeadLetterState.DISCARDED, "it is discarded; restore it first"),
    (lambda c, _: c.state is DeadLetterState.REPLAYING, "another replay has it; cancel that one, or wait for its end"),
    (lambda c, _: c.state is DeadLetterState.RESOLVED, "it is resolved already"),
    (lambda c, t: c.queue not in t.queues, "no service consumes the queue that it failed at"),
    (lambda c, _: not SAFE_ID.match(c.message_id), "it has no usable message id (header ce-id); edit it first"),
    (lambda c, _: not c.is_complete and not c.version, "its payload was too large to be kept whole; edit it first"),
    (
        lambda c, t: t.is_beyond_retention(c) and not t.force,
        "the receiver's inbox may have forgotten it; force sends it all the same",
    ),
)
"""The first that holds is why a message is not taken."""


def ineligible_reason(candidate: ReplayCandidate, policy: ReplayPolicy) -> str:
    """Empty where there is none."""
    return next((reason for holds, reason in INELIGIBILITY_RULES if holds(candidate, policy)), "")


def ordering_key_of(candidate: ReplayCandidate) -> str:
    """Messages of one ordering key keep their order; of each key one is in flight."""
    return candidate.conversation_id or f"message {candidate.id}"


def sort_candidates(candidates: Sequence[ReplayCandidate]) -> list[ReplayCandidate]:
    """As they were said."""
    return sorted(candidates, key=lambda c: (c.occurred_at, c.id))


def final_state(*, live: int, outcome: ReplayState | None) -> ReplayState | None:
    """None while something may still happen. ``outcome``: how it was told to end before its time."""
    return None if live else outcome or ReplayState.DONE
