"""Durable deadlines: a request without a reply gets a synthetic one, in every coupling, also after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from prebook.contracts.message import Unavailable
from prebook.messaging.channel import Channels
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable

SCAN_INTERVAL_S = 0.5
"""Seconds between two scans when few requests are due."""
LEASE_S = 10.0
"""Seconds after which an overdue request that was claimed and not settled may be claimed again."""
MAX_BATCH_SIZE = 32
"""Requests per scan."""


class PendingReplies(Protocol):
    """Port to the requests whose replies are awaited. Raises whatever the database raises."""

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        """Lease up to ``limit`` requests whose deadline has passed without a reply, for ``lease_s`` seconds."""
        ...

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        """Claim up to ``limit`` requests to poll; each is due again after ``poll_interval_s``, doubled every time."""
        ...


@runtime_checkable
class PollingChannel(Protocol):
    """Channel that can poll for replies."""

    async def poll(self, request: Envelope) -> Envelope | None:
        """Return the reply, or None if there is none yet. Raises Unreachable, Undeliverable."""
        ...


class MessageProcessor(Protocol):
    """Feeds synthetic and polled replies into the service; implemented by ``MessagingGateway``."""

    @property
    def service(self) -> str:
        """Name of the service."""
        ...

    @property
    def makes_requests(self) -> bool:
        """Whether the service sends requests."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """Wall clock of the service, in UTC."""
        ...

    async def process(self, envelope: Envelope) -> Envelope | None:
        """Receive a message with all that follows inline from it. Raises whatever the handler raises."""
        ...


def timeout_reply(request: Envelope, reason: str, *, source: str, at: datetime) -> Envelope:
    """Synthetic reply in place of one that did not come; it has the id of the real one, so only the first counts."""
    return request.reply_with(Unavailable(reason=reason), source=source, at=at)


class Deadlines:
    """Replies with ``Unavailable`` to requests whose deadline has passed, also after a restart."""

    def __init__(self, pending_replies: PendingReplies, processor: MessageProcessor) -> None:
        self._pending_replies = pending_replies
        self._processor = processor

    async def run(self) -> None:
        """Scan for overdue requests until cancelled."""
        await _block_unless_requesting(self._processor)
        while True:
            overdue = await self._pending_replies.claim_overdue(MAX_BATCH_SIZE, lease_s=LEASE_S)
            await _settle_each(overdue, self._time_out)
            if len(overdue) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _time_out(self, request: Envelope) -> None:
        source = self._processor.service
        now = self._processor.clock()
        await self._processor.process(timeout_reply(request, "deadline", source=source, at=now))


class ReplyPoller:
    """Polls providers for replies whose callback did not come."""

    def __init__(self, pending_replies: PendingReplies, processor: MessageProcessor, channels: Channels) -> None:
        self._pending_replies = pending_replies
        self._processor = processor
        self._channels = channels

    async def run(self) -> None:
        """Poll until cancelled."""
        await _block_unless_requesting(self._processor)
        while True:
            pollable = await self._pending_replies.claim_pollable(MAX_BATCH_SIZE, poll_interval_s=1.0)
            await _settle_each(pollable, self._poll)
            if len(pollable) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _poll(self, request: Envelope) -> None:
        channel = self._channels[request.coupling]
        if not isinstance(channel, PollingChannel):
            return
        try:
            reply = await channel.poll(request)
        except (Unreachable, Undeliverable):
            return
        if reply is not None:
            await self._processor.process(reply)


async def _block_unless_requesting(processor: MessageProcessor) -> None:
    """A service that makes no requests awaits no replies: wait until cancelled."""
    if not processor.makes_requests:
        await asyncio.Event().wait()


async def _settle_each(requests: Sequence[Envelope], settle: Callable[[Envelope], Awaitable[None]]) -> None:
    """Settle all at once. A failure has been reported to the observer; the request comes again when its lease ends."""
    await asyncio.gather(*(settle(request) for request in requests), return_exceptions=True)
