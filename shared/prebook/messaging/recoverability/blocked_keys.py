"""The port to what a receiver has put down: messages that failed, and what came after them under their keys."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prebook.messaging.envelope import Envelope


class Standing(StrEnum):
    WAITING = "waiting"
    PARKED = "parked"
    """It lies in the parking, and keeps its key until it has been replayed."""


@dataclass(frozen=True)
class Place:
    """How a message finds its key. ``own``: it has been put down itself; ``last``: what was put down last."""

    own: Standing | None = None
    last: Standing | None = None


class Holds(Protocol):
    """By group and key, the key being the conversation. Every call is its own transaction. Raises Unreachable."""

    async def place(self, group: str, envelope: Envelope) -> Place: ...

    async def put_down(self, group: str, envelope: Envelope, standing: Standing, *, pause_s: float, why: str) -> None:
        """At the end of its key, or changed in its place where it is there already."""
        ...

    async def let_go(self, group: str, envelope: Envelope) -> None:
        """It needs its place no more, and so does nothing before it. Nothing happens where it has none."""
        ...

    async def first(self, group: str, key: str) -> Envelope | None:
        """What the key has to do next; None where that is parked, not due yet, or nothing."""
        ...

    async def waiting(self, group: str, key: str) -> Sequence[Envelope]:
        """In order."""
        ...

    async def due(self, limit: int) -> Sequence[tuple[str, str]]:
        """(group, key) of those that have something to do now."""
        ...

    def alone(self, group: str, key: str) -> AbstractAsyncContextManager[bool]:
        """True where nobody else has this key as long as the block lasts."""
        ...
