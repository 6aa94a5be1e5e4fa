"""Work that goes on for as long as the process does, whatever happens to it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from prebook.messaging.asyncio_tools import end_if_cancelled
from prebook.messaging.errors import spelled

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0
log = structlog.get_logger()


async def for_ever(name: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run it again when it ends or raises, after a growing pause. Ends only when cancelled."""
    pause = FIRST_PAUSE_S
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await run()
            end_if_cancelled()
            log.warning("loop ended", loop=name)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - lost parts must not end the process
            end_if_cancelled()
            log.warning("loop failed", loop=name, error=spelled(error))
        lasted = asyncio.get_running_loop().time() - began
        pause = FIRST_PAUSE_S if lasted > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, pause * 2)
        await asyncio.sleep(random.uniform(pause / 2, pause))


async def every(seconds: float, run: Callable[[], Awaitable[object]]) -> None:
    while True:
        await run()
        await asyncio.sleep(seconds)


async def ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancelled, and waited for."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
