"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prebook.devstack.child_process import Child
from prebook.devstack.errors import Trouble

T = TypeVar("T")
PAUSE_S = 0.05


async def until(
    holds: Callable[[], Awaitable[bool]], within_s: float, *, what: str, remedy: str, child: Child | None = None
) -> None:
    """Ask until it holds. Raises Trouble at the deadline, or as soon as the child that makes it hold has ended."""
    try:
        async with asyncio.timeout(within_s):
            while not await holds():
                if child and child.status is not None:
                    raise Trouble(f"{what} ended with status {child.status}: {child.command.last_words()}", remedy)
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        words = f"; the end of its log: {child.command.last_words()}" if child else ""
        raise Trouble(f"{what} was not ready within {within_s:g} s{words}", remedy) from None


async def to_the_end(work: asyncio.Future[T]) -> T:
    """Wait even when cancelled: a second Ctrl-C must not leave anything running."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return work.result()
