"""uvloop, the event loop of the services, in its own thread.

The main thread keeps asyncio's loop, because uvloop cannot start child processes as another user, which the local
database needs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvloop

CoroutineRunner = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Runs a coroutine on the thread's loop and returns its result. Coroutines run one after the other."""


@asynccontextmanager
async def start_uvloop_thread() -> AsyncIterator[CoroutineRunner]:
    """Run a uvloop thread until the block ends; yield a function that runs coroutines on its loop."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            yield lambda work: loop.run_in_executor(thread, runner.run, work)
        finally:
            await loop.run_in_executor(thread, runner.close)
