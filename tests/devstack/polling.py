"""Waiting for conditions, and the state of processes."""

import asyncio
from collections.abc import Callable
from pathlib import Path


async def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until ``condition`` returns a true value; it is checked every 10 ms. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def kernel_state(pid: int) -> str | None:
    """Return T for a stopped process, S or R for a sleeping or running one, None for one that has ended."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, reaped or not."""
    return kernel_state(pid) in {None, "Z"}
