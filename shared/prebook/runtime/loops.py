"""Work that goes on for as long as the process does, whatever happens to it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from prebook.messaging.asyncio_tools import raise_if_cancelled
from prebook.messaging.errors import error_summary

INITIAL_BACKOFF_S, MAX_BACKOFF_S = 0.2, 3.0
log = structlog.get_logger()


async def run_forever(name: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run it again when it ends or raises, after a growing pause. Ends only when cancelled."""
    pause = INITIAL_BACKOFF_S
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await run()
            raise_if_cancelled()
            log.warning("loop returned, restarting", loop=name)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - lost parts must not end the process
            raise_if_cancelled()
            log.warning("loop failed, restarting", loop=name, error=error_summary(error))
        lasted = asyncio.get_running_loop().time() - began
        pause = INITIAL_BACKOFF_S if lasted > MAX_BACKOFF_S else min(MAX_BACKOFF_S, pause * 2)
        await asyncio.sleep(random.uniform(pause / 2, pause))


async def run_every(interval_s: float, run: Callable[[], Awaitable[object]]) -> None:
    while True:
        await run()
        await asyncio.sleep(interval_s)


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancelled, and waited for."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
