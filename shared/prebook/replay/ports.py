"""Ports of the replays."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from prebook.coupling.ports import Publisher
from prebook.replay.archived_message import ArchivedMessage

InboxLookup = Callable[[str, str], Awaitable[datetime | None]]
"""Takes a service and a message id; returns when the service's inbox received the message, or None if it has not.

Raises Unreachable.
"""
ArchiveReader = Callable[[datetime | None], AsyncIterator[ArchivedMessage]]
"""Takes a time; yields the archived messages from that time on, in the archive's order, perhaps with some earlier ones.
None: the whole archive.

Raises Unreachable.
"""
PublisherFactory = Callable[[], AbstractAsyncContextManager[Publisher]]
"""Opens a publisher for the length of the block. Raises Unreachable."""
