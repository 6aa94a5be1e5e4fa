"""Waiting for conditions with a timeout, never for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable


async def wait_until(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    """Wait until ``condition`` returns True; it is checked every 2 ms.

    Raises AssertionError after ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s") from None


async def poll_until(
    condition: Callable[[], Awaitable[bool]], timeout_s: float = 10.0, interval_s: float = 0.05
) -> None:
    """Wait until an asynchronous ``condition`` returns True; it is checked every ``interval_s`` seconds.

    Raises AssertionError after ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():
                await asyncio.sleep(interval_s)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s") from None
