"""Polling with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def poll_until(check: Callable[[], Awaitable[T | None]], *, interval_s: float, timeout_s: float) -> T:
    """Return the first result of ``check`` that is not None.

    ``check`` is called at once and then again ``interval_s`` seconds after each call that returned None.

    Raises:
        TimeoutError: ``timeout_s`` seconds are over.
    """
    async with asyncio.timeout(timeout_s):
        while (found := await check()) is None:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(interval_s)
        return found
