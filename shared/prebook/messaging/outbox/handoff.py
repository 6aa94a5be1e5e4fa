"""From a commit straight to the relay of its process: what a transaction posts is claimed by the statement that writes
it, and need not be looked for and read back.

Order per key holds, since whoever posts joins the key's line in the relay before its rows can be seen, and claims them
only where none comes before them but those that stood in that line by then.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.messaging.unit_of_work import Posting


@dataclass
class Handover:
    """What one transaction may claim, for whom and for how long; then, what it has claimed."""

    owner: str = ""
    lease: timedelta = timedelta()
    due: int = 0
    """How many messages are posted that may leave at once."""
    offered: Mapping[str, Posting] = field(default_factory=dict)
    """Those that may be claimed, by message id."""
    known: Collection[int] = ()
    """Rows that may come before them."""
    claimed: Mapping[str, int] = field(default_factory=dict)
    """Message id -> row."""
    void: bool = False
    """Nothing was written, for sure."""

    @property
    def left(self) -> bool:
        """Something is to be found by whoever claims."""
        return len(self.claimed) < self.due

    def owner_of(self, posting: Posting) -> str | None:
        return self.owner if self.offered.get(posting.envelope.id) is posting else None


def offerable(postings: Sequence[Posting]) -> Sequence[Posting]:
    """Each message once, and only where it may leave at once: the outbox takes the first of an id and no other."""
    firsts: dict[str, Posting] = {}
    for posting in postings:
        firsts.setdefault(posting.envelope.id, posting)
    return [posting for posting in firsts.values() if not posting.after]
