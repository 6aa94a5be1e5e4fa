"""Waiting for something to become true, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def becomes(condition: Callable[[], bool], within_s: float = 3.0) -> None:
    """Raises AssertionError where it has not become true in time."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s") from None


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 10.0, every_s: float = 0.05) -> None:
    """The same for a condition that has to be asked for."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s") from None
