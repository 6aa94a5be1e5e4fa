"""The port to what a receiver has put down: messages that failed, and what came after them under their keys."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prebook.messaging.envelope import Envelope


class BlockStatus(StrEnum):
    WAITING = "waiting"
    PARKED = "parked"
    """It lies in the parking, and keeps its key until it has been replayed."""


@dataclass(frozen=True)
class KeyStatus:
    """Status of a message and of the last one blocked under its key; None where there is none."""

    message_status: BlockStatus | None = None
    last_status: BlockStatus | None = None


class BlockedKeys(Protocol):
    """By group and key, the key being the conversation. Every call is its own transaction. Raises Unreachable."""

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus: ...

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        """At the end of its key, or changed in its place where it is there already."""
        ...

    async def unblock(self, group: str, envelope: Envelope) -> None:
        """It needs its place no more, and so does nothing before it. Nothing happens where it has none."""
        ...

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        """What the key has to do next; None where that is parked, not due yet, or nothing."""
        ...

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        """In order."""
        ...

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        """(group, key) of those that have something to do now."""
        ...

    def try_lock(self, group: str, key: str) -> AbstractAsyncContextManager[bool]:
        """True where nobody else has this key as long as the block lasts."""
        ...
