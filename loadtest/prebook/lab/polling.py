"""Polling with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def poll_until(check: Callable[[], Awaitable[T | None]], *, interval_s: float, timeout_s: float) -> T:
    """Return the first result of ``check`` that is not None.

    ``check`` is called at once, and again ``interval_s`` seconds after each call that returned None.

    Raises:
        TimeoutError: ``check`` returned only None for ``timeout_s`` seconds.
    """
    async with asyncio.timeout(timeout_s):
        while (result := await check()) is None:  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(interval_s)
        return result
