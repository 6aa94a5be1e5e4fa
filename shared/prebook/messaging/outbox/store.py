"""The relay's port to the outbox: what is due, and what became of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prebook.messaging.envelope import Envelope

EXPIRED, UNDELIVERABLE, DISCARDED = "expired", "undeliverable", "discarded"
"""How a row ends that is not sent: nobody waits for it, nobody takes it, or somebody has said that it is to be left."""
GIVEN_UP = (EXPIRED, UNDELIVERABLE, DISCARDED)
OWN_LANE = "own"
"""Requests that this service has accepted and owes itself to handle."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that this relay holds until its lease ends."""

    seq: int
    lane: str
    envelope: Envelope
    failures: int
    """How often sending it has failed before."""
    order_key: str
    refusals: int = 0
    """How often in a row it has been refused, while somebody was there to refuse it."""


class Outbox(Protocol):
    @property
    def owner(self) -> str:
        """By which it is told whose a row is."""
        ...

    async def claim(
        self, limit: int, *, lease_s: float, full_lanes: Collection[str], known: Collection[int]
    ) -> Sequence[Claimed]:
        """Rows that are due, oldest first, none of a full lane, held for ``lease_s``.

        None whose order key has an earlier row waiting for another try, or under way: with another relay, or with us
        without being ``known``.
        """
        ...

    async def put_back(self, seqs: Sequence[int]) -> None:
        """Rows that were claimed and not tried are due again."""
        ...

    async def let_go(self, but: Collection[int]) -> None:
        """Rows that we hold without knowing are due again; ``but`` are known.

        The answer to a claim or a commit was lost, or what became of a row could not be noted.
        """
        ...

    async def sent(self, seqs: Collection[int]) -> None: ...

    async def postpone(self, claimed: Claimed, error: str, *, pause_s: float, refused: bool) -> None:
        """It stays in the outbox and is due again after the pause."""
        ...

    async def give_up(self, claimed: Claimed, state: str, cause: str, error: str) -> None:
        """``state`` is EXPIRED or UNDELIVERABLE; the row stays, to be seen and sent again on purpose."""
        ...


class Expectations(Protocol):
    async def due(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        """Requests whose deadline has passed unanswered."""
        ...

    async def to_poll(self, limit: int, *, again_s: float) -> Sequence[Envelope]:
        """Requests to ask after now; each comes again after ``again_s``, doubled every time."""
        ...


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in an outbox, and for how long."""

    waiting: int
    oldest_s: float
    given_up: Mapping[tuple[str, str], int]
    """(state, cause) -> rows."""
