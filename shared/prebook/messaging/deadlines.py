"""Durable deadlines: what is never answered is answered by silence, in every coupling, also after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from prebook.messaging.channel import Channels, Undeliverable, Unreachable
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.outbox.store import Expectations

TICK_S = 0.5
LEASE_S = 10.0
AT_ONCE = 32


@runtime_checkable
class Polled(Protocol):
    """A channel whose answers can be asked for."""

    async def poll(self, request: Envelope) -> Envelope | None: ...


class Deadlines:
    """Feeds ``Unavailable`` to requests whose time is up, under the id that the real answer would have."""

    def __init__(self, expectations: Expectations, endpoint: Endpoint[Any]) -> None:
        self._expectations, self._endpoint = expectations, endpoint

    async def run(self) -> None:
        await _if_it_asks(self._endpoint)
        while True:
            overdue = await self._expectations.due(AT_ONCE, lease_s=LEASE_S)
            await _each(overdue, self._settle)
            if len(overdue) < AT_ONCE:
                await asyncio.sleep(TICK_S)

    async def _settle(self, request: Envelope) -> None:
        await self._endpoint.receive(self._endpoint.silence(request, "deadline"))


class Poller:
    """Asks after answers that did not come by themselves."""

    def __init__(self, expectations: Expectations, endpoint: Endpoint[Any], channels: Channels) -> None:
        self._expectations, self._endpoint, self._channels = expectations, endpoint, channels

    async def run(self) -> None:
        await _if_it_asks(self._endpoint)
        while True:
            open_requests = await self._expectations.to_poll(AT_ONCE, again_s=1.0)
            await _each(open_requests, self._ask)
            if len(open_requests) < AT_ONCE:
                await asyncio.sleep(TICK_S)

    async def _ask(self, request: Envelope) -> None:
        channel = self._channels[request.coupling]
        if not isinstance(channel, Polled):
            return
        try:
            answer = await channel.poll(request)
        except (Unreachable, Undeliverable):
            return
        if answer is not None:
            await self._endpoint.receive(answer)


async def _if_it_asks(endpoint: Endpoint[Any]) -> None:
    """Who takes no answers waits for none: there is nothing to look for, ever."""
    if not endpoint.asks:
        await asyncio.Event().wait()


async def _each(requests: Sequence[Envelope], settle: Callable[[Envelope], Awaitable[None]]) -> None:
    """One that fails is told to the endpoint's watch and comes again when its lease ends."""
    await asyncio.gather(*(settle(request) for request in requests), return_exceptions=True)
