"""Durable deadlines: a request without a reply gets a synthetic one, in every coupling, also after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from prebook.messaging.channel import Channels
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.messaging.gateway import MessagingGateway

SCAN_INTERVAL_S = 0.5
"""Seconds between two scans when few requests are due."""
LEASE_S = 10.0
"""Seconds after which an overdue request that was claimed and not settled may be claimed again."""
MAX_BATCH_SIZE = 32
"""Requests per scan."""
log = structlog.get_logger()


class PendingReplies(Protocol):
    """Port to the requests whose replies are awaited. Raises whatever the database raises."""

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        """Lease up to ``limit`` requests whose deadline has passed without a reply, for ``lease_s`` seconds."""
        ...

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        """Claim up to ``limit`` requests to poll; each is due again after ``poll_interval_s``, doubled every time."""
        ...


class Deadlines:
    """Replies with ``Unavailable`` to requests whose deadline has passed, also after a restart."""

    def __init__(self, pending_replies: PendingReplies, gateway: MessagingGateway[Any]) -> None:
        self._pending_replies = pending_replies
        self._gateway = gateway

    async def run(self) -> None:
        """Scan for overdue requests until cancelled."""
        await _block_unless_requesting(self._gateway)
        while True:
            overdue = await self._pending_replies.claim_overdue(MAX_BATCH_SIZE, lease_s=LEASE_S)
            await settle_each(overdue, self._time_out)
            if len(overdue) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _time_out(self, request: Envelope) -> None:
        await self._gateway.process(self._gateway.timeout_reply(request, "deadline"))


class ReplyPoller:
    """Polls providers for replies whose callback did not come."""

    def __init__(self, pending_replies: PendingReplies, gateway: MessagingGateway[Any], channels: Channels) -> None:
        self._pending_replies = pending_replies
        self._gateway = gateway
        self._channels = channels

    async def run(self) -> None:
        """Poll the channels for pending replies until cancelled, every request at growing intervals."""
        await _block_unless_requesting(self._gateway)
        while True:
            pollable = await self._pending_replies.claim_pollable(MAX_BATCH_SIZE, poll_interval_s=1.0)
            await settle_each(pollable, self._poll)
            if len(pollable) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _poll(self, request: Envelope) -> None:
        try:
            reply = await self._channels[request.coupling].poll(request)
        except (Unreachable, Undeliverable):
            return
        if reply is not None:
            await self._gateway.process_or_recover(reply)


async def _block_unless_requesting(gateway: MessagingGateway[Any]) -> None:
    """A service that makes no requests awaits no replies: wait until cancelled."""
    if not gateway.makes_requests:
        await asyncio.Event().wait()


async def settle_each(requests: Sequence[Envelope], settle: Callable[[Envelope], Awaitable[None]]) -> int:
    """Settle all at once, and return how many were settled.

    A failure is logged and fails no other. A later scan finds the request of a failure again.
    """
    errors = await asyncio.gather(*(settle(request) for request in requests), return_exceptions=True)
    for request, error in zip(requests, errors, strict=True):
        if error is not None:
            log.error(
                "pending request not settled",
                message_id=request.id,
                conversation_id=request.conversation_id,
                error=error_summary(error),
            )
    return errors.count(None)
