"""Many of one thing: so many under way at a time and what each costs, or each at its time."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

from prebook.lab.bench.rounds import Figures

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
AFTER_NAME = ") "
USER, SYSTEM = 11, 12
"""Fields of /proc/PID/stat after the name, from 0 (proc(5))."""


def processor_s(pid: int) -> float:
    """Used so far by a process; 10 ms is as fine as it gets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(AFTER_NAME)[2].split()
    return (int(fields[USER]) + int(fields[SYSTEM])) * TICKS_S


async def paced(do: Callable[[int], Awaitable[object]], count: int, at_once: int, pid: int | None = None) -> Figures:
    """``do`` is given 0 to count - 1. Figures: ``per_s``, and processor time of each in us: ``here``, ``there``.

    ``pid``: of the process that does the other half of the work.
    """
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < count:
            await do(number)

    there, here, began = processor_s(pid) if pid else 0.0, time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    took, here = time.perf_counter() - began, time.process_time() - here
    there = processor_s(pid) - there if pid else 0.0
    return {"per_s": count / took, "here": here / count * 1e6, "there": there / count * 1e6}


async def moments(numbers: Iterable[int], per_s: float) -> AsyncIterator[int]:
    """Each of the numbers at its time, counted from now, however long what was done with the one before took."""
    began = time.perf_counter()
    for step, number in enumerate(numbers):
        await asyncio.sleep(began + step / per_s - time.perf_counter())
        yield number
