"""Background loops that survive every failure and end only when they are cancelled."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from prebook.asyncio_tools import raise_if_cancelled
from prebook.messaging.errors import error_summary

INITIAL_BACKOFF_S = 0.2
MAX_BACKOFF_S = 3.0
log = structlog.get_logger()


async def run_forever(name: str, run: Callable[[], Awaitable[object]]) -> None:
    """Call ``run`` again whenever it returns or raises, after a growing random delay. Ends only when cancelled."""
    delay_s = INITIAL_BACKOFF_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await run()
            raise_if_cancelled()
            log.warning("loop returned, restarting", loop=name)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a failed loop must not end the process
            raise_if_cancelled()
            log.warning("loop failed, restarting", loop=name, error=error_summary(error))
        ran_s = asyncio.get_running_loop().time() - started
        delay_s = INITIAL_BACKOFF_S if ran_s > MAX_BACKOFF_S else min(MAX_BACKOFF_S, delay_s * 2)
        await asyncio.sleep(random.uniform(delay_s / 2, delay_s))


async def run_every(interval_s: float, run: Callable[[], Awaitable[object]]) -> None:
    """Call ``run`` for ever, with ``interval_s`` between the end of one call and the next."""
    while True:
        await run()
        await asyncio.sleep(interval_s)


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until all of them have ended; their exceptions are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
