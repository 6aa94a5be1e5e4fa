"""From a commit straight to the relay of its process: what a transaction posts is claimed by the statement that writes
it, and need not be looked for and read back.

Order per key holds, since whoever posts joins the key's line in the relay before its rows can be seen, and claims them
only where none comes before them but those that stood in that line by then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.messaging.unit_of_work import Posting


@dataclass
class Handover:
    """What one transaction may claim, for whom and for how long; then, what it has claimed."""

    owner: str
    lease: timedelta
    due: int
    """How many messages are posted that may leave at once."""
    offered: Collection[str]
    """Ids of those that may be claimed."""
    known: Collection[int]
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
        return self.owner if posting.envelope.id in self.offered else None


NOBODY = Handover("", timedelta(), 0, (), ())
"""Whoever claims finds it."""
