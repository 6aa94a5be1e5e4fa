"""Which messages a replay may take, in which order, and how it ends."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.dead_letters import ParkedState
from prebook.contracts.replays import ItemState, ReplayState
from prebook.messaging.codec import SAFE_ID

NEXT: dict[ItemState, frozenset[ItemState]] = {
    ItemState.REQUESTED: frozenset({ItemState.IN_FLIGHT, ItemState.HELD, ItemState.CANCELLED}),
    ItemState.IN_FLIGHT: frozenset(
        {ItemState.RESOLVED, ItemState.FAILED_AGAIN, ItemState.UNCONFIRMED, ItemState.REFUSED}
    ),
}
"""What may come after; every other state is the end."""
LIVE = frozenset(NEXT)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What must be known of a parked message to send it again."""

    id: int
    state: ParkedState
    queue: str
    message_id: str
    conversation: str
    said_at: datetime
    """When it was said; where that is unknown, when it failed first."""
    version: int
    whole: bool = True
    """Nothing of its payload was cut off."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    now: datetime
    remembered_s: float
    """So long do the receivers' inboxes remember what they admitted."""
    queues: Collection[str]
    """Those that services consume."""
    force: bool = False

    def aged(self, candidate: Candidate) -> bool:
        return candidate.said_at < self.now - timedelta(seconds=self.remembered_s)


Objection = tuple[Callable[[Candidate, Terms], bool], str]
OBJECTIONS: tuple[Objection, ...] = (
    (lambda c, _: c.state is ParkedState.DISCARDED, "it is discarded; restore it first"),
    (lambda c, _: c.state is ParkedState.REPLAYING, "another replay has it; cancel that one, or wait for its end"),
    (lambda c, _: c.state is ParkedState.RESOLVED, "it is resolved already"),
    (lambda c, t: c.queue not in t.queues, "no service consumes the queue that it failed at"),
    (lambda c, _: not SAFE_ID.match(c.message_id), "it has no usable message id (header ce-id); edit it first"),
    (lambda c, _: not c.whole and not c.version, "its payload was too large to be kept whole; edit it first"),
    (lambda c, t: t.aged(c) and not t.force, "the receiver's inbox may have forgotten it; force sends it all the same"),
)
"""The first that holds is why a message is not taken."""


def objection(candidate: Candidate, terms: Terms) -> str:
    """Empty where there is none."""
    return next((reason for holds, reason in OBJECTIONS if holds(candidate, terms)), "")


def lane(candidate: Candidate) -> str:
    """Messages of one lane keep their order; of each lane one is in flight."""
    return candidate.conversation or f"message {candidate.id}"


def ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """As they were said."""
    return sorted(candidates, key=lambda c: (c.said_at, c.id))


def ending(*, live: int, outcome: ReplayState | None) -> ReplayState | None:
    """None while something may still happen. ``outcome``: how it was told to end before its time."""
    return None if live else outcome or ReplayState.DONE
