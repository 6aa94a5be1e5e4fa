"""Many of one thing: so many under way at a time and what each costs, or each at its time."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

from prebook.lab.bench.rounds import RoundFigures

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
COMM_END = ") "
UTIME_FIELD = 11
STIME_FIELD = 12
"""Fields of /proc/PID/stat after the name, from 0 (proc(5))."""


def cpu_time_s(pid: int) -> float:
    """Used so far by a process; 10 ms is as fine as it gets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(COMM_END)[2].split()
    return (int(fields[UTIME_FIELD]) + int(fields[STIME_FIELD])) * TICK_S


async def run_closed_loop(
    operation: Callable[[int], Awaitable[object]], count: int, concurrency: int, pid: int | None = None
) -> RoundFigures:
    """``do`` is given 0 to count - 1. Figures: ``per_s``, and processor time of each in us: ``here``, ``there``.

    ``pid``: of the process that does the other half of the work.
    """
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < count:
            await operation(number)

    there = cpu_time_s(pid) if pid else 0.0
    here = time.process_time()
    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    took = time.perf_counter() - began
    here = time.process_time() - here
    there = cpu_time_s(pid) - there if pid else 0.0
    return {"per_s": count / took, "here": here / count * 1e6, "there": there / count * 1e6}


async def open_loop(numbers: Iterable[int], rate_per_s: float) -> AsyncIterator[int]:
    """Each of the numbers at its time, counted from now, however long what was done with the one before took."""
    began = time.perf_counter()
    for step, number in enumerate(numbers):
        await asyncio.sleep(began + step / rate_per_s - time.perf_counter())
        yield number
