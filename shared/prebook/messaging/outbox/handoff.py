"""From a commit straight to the relay of its process: what a transaction posts is claimed by the statement that writes
it, and need not be looked for and read back.

Order per key holds, since whoever posts joins the key's line in the relay before its rows can be seen, and claims them
only where none comes before them but those that stood in that line by then.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.messaging.unit_of_work import OutboxMessage


@dataclass
class Handoff:
    """What one transaction may claim, for whom and for how long; then, what it has claimed."""

    owner: str = ""
    lease: timedelta = timedelta()
    due_count: int = 0
    """How many messages are posted that may leave at once."""
    offered: Mapping[str, OutboxMessage] = field(default_factory=dict)
    """Those that may be claimed, by message id."""
    tracked: Collection[int] = ()
    """Rows that may come before them."""
    claimed: Mapping[str, int] = field(default_factory=dict)
    """Message id -> row."""
    nothing_written: bool = False
    """Nothing was written, for sure."""

    @property
    def has_unclaimed(self) -> bool:
        """Something is to be found by whoever claims."""
        return len(self.claimed) < self.due_count

    def owner_of(self, message: OutboxMessage) -> str | None:
        return self.owner if self.offered.get(message.envelope.id) is message else None


def claimable(messages: Sequence[OutboxMessage]) -> Sequence[OutboxMessage]:
    """Each message once, and only where it may leave at once: the outbox takes the first of an id and no other."""
    firsts: dict[str, OutboxMessage] = {}
    for posting in messages:
        firsts.setdefault(posting.envelope.id, posting)
    return [posting for posting in firsts.values() if not posting.delay]
