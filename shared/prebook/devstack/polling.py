"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prebook.devstack.child_process import ChildProcess
from prebook.devstack.errors import UserError

T = TypeVar("T")
POLL_INTERVAL_S = 0.05


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    timeout_s: float,
    *,
    subject: str,
    remedy: str,
    child: ChildProcess | None = None,
) -> None:
    """Ask until it holds. Raises Trouble at the deadline, or as soon as the child that makes it hold has ended."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():
                if child and child.status is not None:
                    raise UserError(f"{subject} ended with status {child.status}: {child.command.log_tail()}", remedy)
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        words = f"; the end of its log: {child.command.log_tail()}" if child else ""
        raise UserError(f"{subject} was not ready within {timeout_s:g} s{words}", remedy) from None


async def wait_uncancelled(future: asyncio.Future[T]) -> T:
    """Wait even when cancelled: a second Ctrl-C must not leave anything running."""
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return future.result()
