"""Handoff: a transaction leases its new outbox rows to the relay of its own process in the statement that writes them.

The relay sends handed-off rows right after the commit, without scanning for them or reading them back. Order per key
holds: the transaction enqueues a ticket for the key before its rows become visible, and leases them only if every
earlier row of the key was in that queue already (``Handoff.tracked``).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.messaging.unit_of_work import OutboxMessage


@dataclass
class Handoff:
    """Rows that one transaction may lease to a relay, and the rows that it has leased."""

    owner: str = ""
    """Relay that gets the lease (``Outbox.owner``)."""
    lease: timedelta = timedelta()
    """Duration of the lease."""
    due_count: int = 0
    """Number of enqueued messages that are due at once."""
    offered: Mapping[str, OutboxMessage] = field(default_factory=dict)
    """Messages that may be leased, by message id."""
    tracked: Collection[int] = ()
    """Sequence numbers of earlier rows that the relay holds; only these may precede a leased row of the same key."""
    claimed: Mapping[str, int] = field(default_factory=dict)
    """Message id to sequence number of each leased row; set by the statement that writes the rows."""
    nothing_written: bool = False
    """The transaction certainly wrote no row; False while the outcome of the commit is unknown."""

    @property
    def has_unclaimed(self) -> bool:
        """Return whether due rows were written without a lease, so that a scan must claim them."""
        return len(self.claimed) < self.due_count

    def owner_of(self, message: OutboxMessage) -> str | None:
        """Return the owner that a message's row is leased to on insert; None for a row without a lease."""
        return self.owner if self.offered.get(message.envelope.id) is message else None


OpenHandoff = Callable[[Sequence[OutboxMessage]], AbstractContextManager[Handoff]]
"""Opens the handoff of new rows to the relay, around the statement that writes them and its commit."""


def no_handoff(_: Sequence[OutboxMessage]) -> AbstractContextManager[Handoff]:
    """Implement OpenHandoff for a process without a relay: no row is leased."""
    return nullcontext(Handoff())


def claimable(messages: Sequence[OutboxMessage]) -> Sequence[OutboxMessage]:
    """Return the messages that are due at once, each message id once.

    The outbox stores the first message of an id and ignores the others.
    """
    first_by_id: dict[str, OutboxMessage] = {}
    for message in messages:
        first_by_id.setdefault(message.envelope.id, message)
    return [message for message in first_by_id.values() if not message.delay]
