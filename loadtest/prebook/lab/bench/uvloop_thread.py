"""A loop as the services have, in a thread beside ours: uvloop cannot start programs as another user, as parts need."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvloop

CoroutineRunner = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Runs a coroutine there to its end; one after the other, all on the same loop."""


@asynccontextmanager
async def start_uvloop_thread() -> AsyncIterator[CoroutineRunner]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            yield lambda work: loop.run_in_executor(thread, runner.run, work)
        finally:
            await loop.run_in_executor(thread, runner.close)
