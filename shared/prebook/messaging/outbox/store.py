"""The relay's port to the outbox: what is due, and what became of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prebook.messaging.envelope import Envelope

LOCAL_ROUTE = "local"
"""Route of requests that this service has accepted and has yet to handle itself."""


class OutboxState(StrEnum):
    """State of a row in the outbox."""

    WAITING = "waiting"
    SENT = "sent"
    EXPIRED = "expired"
    """Abandoned: nobody waits for it any more."""
    UNDELIVERABLE = "undeliverable"
    """Abandoned: nobody takes it."""
    DISCARDED = "discarded"
    """Abandoned, and an operator has decided not to send it."""


ABANDONED_STATES = (OutboxState.EXPIRED, OutboxState.UNDELIVERABLE, OutboxState.DISCARDED)


@dataclass(frozen=True, slots=True)
class LeasedRow:
    """A row that this relay holds until its lease ends."""

    seq: int
    route: str
    envelope: Envelope
    failures: int
    """How often sending it has failed before."""
    ordering_key: str
    refusals: int = 0
    """How often in a row it has been refused, while somebody was there to refuse it."""


class Outbox(Protocol):
    @property
    def owner(self) -> str:
        """By which it is told whose a row is."""
        ...

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int]
    ) -> Sequence[LeasedRow]:
        """Rows that are due, oldest first, none of a full lane, held for ``lease_s``.

        None whose order key has an earlier row waiting for another try, or under way: with another relay, or with us
        without being ``tracked``.
        """
        ...

    async def release(self, seqs: Sequence[int]) -> None:
        """Rows that were claimed and not tried are due again."""
        ...

    async def release_untracked(self, tracked: Collection[int]) -> None:
        """Rows that we hold without knowing are due again; those in ``tracked`` are known.

        The answer to a claim or a commit was lost, or what became of a row could not be noted.
        """
        ...

    async def mark_sent(self, seqs: Collection[int]) -> None: ...

    async def reschedule(self, row: LeasedRow, error: str, *, delay_s: float, refused: bool) -> None:
        """It stays in the outbox and is due again after the pause."""
        ...

    async def abandon(self, row: LeasedRow, state: OutboxState, cause: str, error: str) -> None:
        """``state`` is EXPIRED or UNDELIVERABLE; the row stays, to be seen and sent again on purpose."""
        ...


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """How much waits in an outbox, and for how long."""

    waiting: int
    oldest_s: float
    abandoned: Mapping[tuple[str, str], int]
    """(state, cause) -> rows."""
