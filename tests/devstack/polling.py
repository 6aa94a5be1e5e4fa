"""Conditions that a test waits for."""

import asyncio
from collections.abc import Callable
from pathlib import Path


async def until(holds: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.01)


def kernel_state(pid: int) -> str | None:
    """T for a stopped process, S or R for a living one, None for one that is gone."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_gone(pid: int) -> bool:
    return kernel_state(pid) in {None, "Z"}
