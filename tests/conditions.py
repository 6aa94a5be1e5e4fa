"""Wait for conditions, with a deadline and never for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable


async def becomes(condition: Callable[[], bool], within_s: float = 3.0) -> None:
    """Wait until ``condition`` returns True. Raises AssertionError after ``within_s`` seconds."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s") from None


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 10.0, every_s: float = 0.05) -> None:
    """Wait until an asynchronous ``condition`` returns True; it is checked every ``every_s`` seconds.

    Raises AssertionError after ``within_s`` seconds.
    """
    try:
        async with asyncio.timeout(within_s):
            while not await condition():
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s") from None
