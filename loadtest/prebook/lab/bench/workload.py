"""Many of one thing: so many under way at a time and what each costs, or each at its time."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from prebook.lab.bench.rounds import RoundFigures
from prebook.lab.process_tree import read_cpu_time_s


async def run_closed_loop(
    operation: Callable[[int], Awaitable[object]], count: int, concurrency: int, pid: int | None = None
) -> RoundFigures:
    """Call ``operation`` with 0 to count - 1, ``concurrency`` calls at a time.

    Figures: ``per_s``, and the CPU time of each call in us: ``client_cpu_us`` of this process, ``server_cpu_us`` of the
    process ``pid``, which does the other half of the work.
    """
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < count:
            await operation(number)

    server_began_s = read_cpu_time_s(pid) if pid else 0.0
    client_began_s = time.process_time()
    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    took = time.perf_counter() - began
    client_cpu_s = time.process_time() - client_began_s
    server_cpu_s = read_cpu_time_s(pid) - server_began_s if pid else 0.0
    return {
        "per_s": count / took,
        "client_cpu_us": client_cpu_s / count * 1e6,
        "server_cpu_us": server_cpu_s / count * 1e6,
    }


async def open_loop(numbers: Iterable[int], rate_per_s: float) -> AsyncIterator[int]:
    """Each of the numbers at its time, counted from now, however long what was done with the one before took."""
    began = time.perf_counter()
    for step, number in enumerate(numbers):
        await asyncio.sleep(began + step / rate_per_s - time.perf_counter())
        yield number
