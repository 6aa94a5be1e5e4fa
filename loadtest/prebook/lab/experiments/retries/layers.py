"""Layers of HTTP services that call each other and retry, and a provider that fails, in the lab's process."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from aiohttp import web

from prebook.lab.experiments.loopback_server import listen
from prebook.patterns.budget import RetryBudget
from prebook.patterns.retry import exponential_backoff_s

FAILED = 503


class Provider:
    """Provider that fails at a share of its calls, and counts them. ``failing_share``: 1.0 fails at all."""

    def __init__(self, failing_share: float, rng: random.Random) -> None:
        self.calls = 0
        self._failing_share = failing_share
        self._rng = rng

    async def handle(self, _: web.Request) -> web.Response:
        """Answer one call."""
        self.calls += 1
        return web.Response(status=FAILED if self._rng.random() < self._failing_share else 204)


class Layer:
    """Service that forwards each request, up to ``max_attempts`` times as long as its retry budget allows.

    ``budget``: None retries without a limit but the number of attempts. ``backoff_share``: share of the suite's delays,
    which would only make the experiment longer.
    """

    def __init__(self, max_attempts: int, budget: RetryBudget | None, *, backoff_share: float = 0.02) -> None:
        self._max_attempts = max_attempts
        self._budget = budget
        self._backoff_share = backoff_share

    async def forward(self, session: aiohttp.ClientSession, url: str) -> int:
        """Return the status of the last attempt."""
        if self._budget:
            self._budget = self._budget.earned()
        for attempt in range(1, self._max_attempts + 1):
            async with session.post(url) as response:
                if response.status != FAILED or attempt == self._max_attempts or not self._take_retry():
                    return response.status
            await asyncio.sleep(self._backoff_share * random.uniform(0, exponential_backoff_s(attempt)))
        raise AssertionError("the last attempt returns")

    def _take_retry(self) -> bool:
        if self._budget is None:
            return True
        if not self._budget.allows_retry:
            return False
        self._budget = self._budget.spent()
        return True


@asynccontextmanager
async def serve_layers(provider: Provider, layers: list[Layer]) -> AsyncIterator["Client"]:
    """Serve the provider and all layers but the first, which is the client, while the block runs.

    ``layers``: from the client to the caller of the provider.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = await stack.enter_async_context(listen(provider.handle))
        for layer in reversed(layers[1:]):
            url = await stack.enter_async_context(_serve(layer, session, url))
        yield Client(layers[0], session, url)


class Client:
    """The first layer: sends requests and counts those that succeed."""

    def __init__(self, layer: Layer, session: aiohttp.ClientSession, url: str) -> None:
        self.succeeded = 0
        self._layer = layer
        self._session = session
        self._url = url

    async def send(self) -> None:
        """Send one request."""
        status = await self._layer.forward(self._session, self._url)
        self.succeeded += status != FAILED


@asynccontextmanager
async def _serve(layer: Layer, session: aiohttp.ClientSession, next_url: str) -> AsyncIterator[str]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=await layer.forward(session, next_url))

    async with listen(handle) as url:
        yield url
