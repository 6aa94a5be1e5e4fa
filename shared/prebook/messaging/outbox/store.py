"""Port of the relay to the outbox: claim due rows and record their outcome."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prebook.messaging.envelope import Envelope

LOCAL_ROUTE = "local"
"""Route of messages that this service has received and handles itself: accepted requests, and later attempts at calls
and replies that have failed."""


class OutboxState(StrEnum):
    """State of a row in the outbox; SQL uses the same values."""

    WAITING = "waiting"
    """Not sent yet; leased, due, or due later."""
    SENT = "sent"
    """Confirmed by the receiver; kept for the retention period."""
    EXPIRED = "expired"
    """Abandoned: the message expired before it could be sent."""
    UNDELIVERABLE = "undeliverable"
    """Abandoned: the receiver refused the message too often."""
    DISCARDED = "discarded"
    """Abandoned, and an operator decided not to send it."""


ABANDONED_STATES = (OutboxState.EXPIRED, OutboxState.UNDELIVERABLE, OutboxState.DISCARDED)
"""Terminal states of rows that were not sent."""


@dataclass(frozen=True, slots=True)
class LeasedRow:
    """Outbox row that this relay owns until the lease ends."""

    seq: int
    """Sequence number of the row; rows of one queue key are sent in ascending order."""
    route: str
    """Route that the message leaves by (``Channel.route``)."""
    envelope: Envelope
    failures: int
    """Number of failed attempts to send the row."""
    ordering_key: str
    """Key whose rows on one route are sent in order."""
    refusals: int = 0
    """Number of consecutive refusals by a reachable receiver."""
    is_claimed: bool = False
    """Whether a scan has found the row: another lease of it may have ended without an outcome."""


class HandleAgain(Exception):
    """Handling a row of the local route has failed: the row is due again, as the next attempt, after a delay."""

    def __init__(self, next_attempt: Envelope, delay_s: float, error: str) -> None:
        """``delay_s``: seconds until the next attempt; ``error``: summary of the failure."""
        super().__init__(error)
        self.next_attempt = next_attempt
        self.delay_s = delay_s


class Outbox(Protocol):
    """Outbox of one service, as one relay sees it. Every method raises whatever the database raises.

    Source: Transactional Outbox, Polling Publisher.
    """

    owner: str
    """Identifier of the relay in its leases; unique per process."""

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int]
    ) -> Sequence[LeasedRow]:
        """Lease up to ``limit`` due rows for ``lease_s`` seconds, oldest first, and return them.

        Rows of ``full_routes`` are left out. So are rows whose ordering key has an earlier row that waits for a retry,
        is leased to another relay, or is leased to this relay without being ``tracked`` (sequence numbers).
        """
        ...

    async def release(self, seqs: Sequence[int]) -> None:
        """End the lease of rows that were claimed and not attempted, so that they are due again."""
        ...

    async def release_untracked(self, tracked: Collection[int]) -> None:
        """End the lease of all rows of this relay except those in ``tracked``, so that they are due again.

        Needed after the result of a claim or a commit was lost, or the outcome of a row could not be recorded.
        """
        ...

    async def mark_sent(self, seqs: Collection[int]) -> None:
        """Set the rows to ``SENT`` and end their leases. ``seqs`` are in the order of their confirms."""
        ...

    async def record_start(self, row: LeasedRow, message: Envelope) -> None:
        """Record that the row is taken up, with ``message`` in the place of its message; its lease continues."""
        ...

    async def reschedule(
        self, row: LeasedRow, error: str, *, delay_s: float, refused: bool, message: Envelope | None = None
    ) -> None:
        """Record a failed attempt; the row is due again after ``delay_s`` seconds.

        ``refused``: a reachable receiver refused the message, so that its consecutive refusals grow by one.
        ``message``: takes the place of the row's message, if given.
        """
        ...

    async def abandon(self, row: LeasedRow, state: OutboxState, cause: str, error: str) -> None:
        """Set the row to ``EXPIRED`` or ``UNDELIVERABLE``. Operators can inspect it and send it again."""
        ...


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """Number of rows in an outbox and the age of the oldest."""

    waiting: int
    """Rows that are not sent yet."""
    oldest_s: float
    """Seconds since the oldest waiting row was written; 0 without waiting rows."""
    abandoned: Mapping[tuple[str, str], int]
    """Number of abandoned rows by (state, cause)."""
