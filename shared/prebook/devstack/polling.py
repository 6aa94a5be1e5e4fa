"""Waiting for a condition, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable

from prebook.devstack.child_process import ChildProcess
from prebook.devstack.errors import UserError

POLL_INTERVAL_S = 0.05


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    timeout_s: float,
    *,
    subject: str,
    remedy: str,
    child: ChildProcess | None = None,
) -> None:
    """Poll a condition until it is true.

    Raises UserError at the deadline, or as soon as ``child``, the process that should make it true, has ended.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():
                if child and child.status is not None:
                    raise UserError(f"{subject} ended with status {child.status}: {child.command.log_tail()}", remedy)
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        words = f"; the end of its log: {child.command.log_tail()}" if child else ""
        raise UserError(f"{subject} was not ready within {timeout_s:g} s{words}", remedy) from None
