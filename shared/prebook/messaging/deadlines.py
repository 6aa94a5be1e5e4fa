"""Durable deadlines: what is never answered is answered by silence, in every coupling, also after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from prebook.messaging.channel import Channels
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable

SCAN_INTERVAL_S = 0.5
LEASE_S = 10.0
MAX_BATCH_SIZE = 32


class PendingReplies(Protocol):
    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        """Requests whose deadline has passed unanswered."""
        ...

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        """Requests to ask after now; each comes again after ``poll_interval_s``, doubled every time."""
        ...


@runtime_checkable
class PollingChannel(Protocol):
    """A channel whose answers can be asked for."""

    async def poll(self, request: Envelope) -> Envelope | None: ...


class Deadlines:
    """Feeds ``Unavailable`` to requests whose time is up, under the id that the real answer would have."""

    def __init__(self, pending_replies: PendingReplies, endpoint: Endpoint[Any]) -> None:
        self._pending_replies, self._endpoint = pending_replies, endpoint

    async def run(self) -> None:
        await _block_unless_requesting(self._endpoint)
        while True:
            overdue = await self._pending_replies.claim_overdue(MAX_BATCH_SIZE, lease_s=LEASE_S)
            await _settle_each(overdue, self._time_out)
            if len(overdue) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _time_out(self, request: Envelope) -> None:
        await self._endpoint.receive(self._endpoint.timeout_reply(request, "deadline"))


class ReplyPoller:
    """Asks after answers that did not come by themselves."""

    def __init__(self, pending_replies: PendingReplies, endpoint: Endpoint[Any], channels: Channels) -> None:
        self._pending_replies, self._endpoint, self._channels = pending_replies, endpoint, channels

    async def run(self) -> None:
        await _block_unless_requesting(self._endpoint)
        while True:
            open_requests = await self._pending_replies.claim_pollable(MAX_BATCH_SIZE, poll_interval_s=1.0)
            await _settle_each(open_requests, self._poll)
            if len(open_requests) < MAX_BATCH_SIZE:
                await asyncio.sleep(SCAN_INTERVAL_S)

    async def _poll(self, request: Envelope) -> None:
        channel = self._channels[request.coupling]
        if not isinstance(channel, PollingChannel):
            return
        try:
            answer = await channel.poll(request)
        except (Unreachable, Undeliverable):
            return
        if answer is not None:
            await self._endpoint.receive(answer)


async def _block_unless_requesting(endpoint: Endpoint[Any]) -> None:
    """Who takes no answers waits for none: there is nothing to look for, ever."""
    if not endpoint.makes_requests:
        await asyncio.Event().wait()


async def _settle_each(requests: Sequence[Envelope], settle: Callable[[Envelope], Awaitable[None]]) -> None:
    """One that fails is told to the endpoint's watch and comes again when its lease ends."""
    await asyncio.gather(*(settle(request) for request in requests), return_exceptions=True)
