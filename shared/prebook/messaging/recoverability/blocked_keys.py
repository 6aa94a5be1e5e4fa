"""Port to the blocked messages of a receiver: failed ones, and later ones of the same ordering key.

States and transitions: docs/architecture/ordering-and-blocked-keys.md.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prebook.messaging.envelope import Envelope


class BlockStatus(StrEnum):
    """Status of a blocked message."""

    WAITING = "waiting"
    """Handled once it is due and the first of its key."""
    PARKED = "parked"
    """Dead-lettered; blocks its key until it is replayed, or a later message of the key is."""


@dataclass(frozen=True)
class KeyStatus:
    """Status of a message and of the last blocked message of its key; None if not blocked."""

    message_status: BlockStatus | None = None
    last_status: BlockStatus | None = None


class BlockedKeys(Protocol):
    """Blocked messages by group and key; the key is the conversation id. Each key is a queue, in order of blocking.

    Every call is a separate transaction. Every method raises Unreachable.
    """

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus:
        """Return the status of the message and of its key."""
        ...

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        """Append the message to its key, or update it in its position if it is blocked already.

        ``delay_s``: seconds until it is due. ``error``: why it is blocked, for operators.
        """
        ...

    async def unblock(self, group: str, envelope: Envelope) -> None:
        """Remove the message and all before it under its key. Does nothing for a message that is not blocked."""
        ...

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        """Return the first message of the key; None if it is parked or not due yet, or if there is none."""
        ...

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        """Return the waiting messages of the key, in order."""
        ...

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return (group, key) of up to ``limit`` keys whose first message is due."""
        ...

    def try_lock(self, group: str, key: str) -> AbstractAsyncContextManager[bool]:
        """Lock the key for the block. Yields False if another replica has locked it."""
        ...
