"""Which messages a replay may take, in which order, and how it ends."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.messaging.codec import SAFE_ID
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy, ineligible_reason

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


IneligibilityRule = tuple[Callable[[ReplayCandidate, Collection[str]], bool], str]
INELIGIBILITY_RULES: tuple[IneligibilityRule, ...] = (
    (lambda c, _: c.state is DeadLetterState.DISCARDED, "it is discarded; restore it first"),
    (lambda c, _: c.state is DeadLetterState.REPLAYING, "another replay has it; cancel that one, or wait for its end"),
    (lambda c, _: c.state is DeadLetterState.RESOLVED, "it is resolved already"),
    (lambda c, queues: c.queue not in queues, "no service consumes the queue that it failed at"),
    (lambda c, _: not SAFE_ID.match(c.message_id), "it has no usable message id (header ce-id); edit it first"),
    (lambda c, _: not c.is_complete and not c.version, "its payload was too large to be stored whole; edit it first"),
)
"""Rules on the state of a dead letter: a predicate over the candidate and the consumed queues, and text with remedy."""
POLICY_TEXTS = {
    IneligibleReason.OUTSIDE_INBOX_WINDOW: (
        "it is older than the receiver's inbox deduplication window; force sends it, and it may take effect twice"
    ),
}


def explain_ineligible(candidate: ReplayCandidate, queues: Collection[str], policy: ReplayPolicy) -> str:
    """Return the first reason against replaying a dead letter, with the remedy; empty if it is eligible.

    ``queues``: the queues that services consume. Expiry does not matter, because a redelivery has none.
    """
    for holds, text in INELIGIBILITY_RULES:
        if holds(candidate, queues):
            return text
    reason = ineligible_reason(policy, occurred_at=candidate.occurred_at)
    return POLICY_TEXTS[reason] if reason else ""


def ordering_key_of(candidate: ReplayCandidate) -> str:
    """Messages of one ordering key keep their order; of each key one is in flight."""
    return candidate.conversation_id or f"message {candidate.id}"


def sort_candidates(candidates: Sequence[ReplayCandidate]) -> list[ReplayCandidate]:
    """As they were said."""
    return sorted(candidates, key=lambda c: (c.occurred_at, c.id))


def final_state(*, live: int, outcome: ReplayState | None) -> ReplayState | None:
    """None while something may still happen. ``outcome``: how it was told to end before its time."""
    return None if live else outcome or ReplayState.DONE
