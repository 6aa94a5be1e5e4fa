"""Workloads: closed loop with a fixed concurrency, and open loop with a fixed rate."""

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

    Return ``per_s`` and the CPU time per call in us: ``client_cpu_us`` of this process and ``server_cpu_us`` of
    the process ``pid``.
    """
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < count:
            await operation(number)

    server_before_s = read_cpu_time_s(pid) if pid else 0.0
    client_before_s = time.process_time()
    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    took_s = time.perf_counter() - started
    client_cpu_s = time.process_time() - client_before_s
    server_cpu_s = read_cpu_time_s(pid) - server_before_s if pid else 0.0
    return {
        "per_s": count / took_s,
        "client_cpu_us": client_cpu_s / count * 1e6,
        "server_cpu_us": server_cpu_s / count * 1e6,
    }


async def open_loop(numbers: Iterable[int], rate_per_s: float) -> AsyncIterator[int]:
    """Yield ``numbers`` at ``rate_per_s`` from now on; a late consumer gets the missed ones without delay."""
    started = time.perf_counter()
    for step, number in enumerate(numbers):
        await asyncio.sleep(started + step / rate_per_s - time.perf_counter())
        yield number
