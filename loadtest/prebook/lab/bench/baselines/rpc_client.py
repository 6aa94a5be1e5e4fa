"""How every side of request-reply is asked: one call at a time, then many in flight. The standard library alone.

A baseline's program may run on another interpreter, where nothing of ours is installed.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable

WARMUP_CALLS = 50
SEQUENTIAL_CALLS = 300
CONCURRENT_CALLS = 1_500
IN_FLIGHT = 64
REQUEST_BODY = {
    "pickup": {"lat": 52.52, "lon": 13.40},
    "dropoff": {"lat": 52.36, "lon": 13.51},
    "pickup_at": "2026-12-01T06:30:00Z",
    "vehicle_class": "standard",
    "passengers": 2,
}
REPLY_BODY = {
    "fare": {"cents": 4200, "currency": "EUR"},
    "discount": {"cents": 0, "currency": "EUR"},
    "valid_until": "2026-12-01T06:30:00Z",
}


def print_figures(times_s: list[float], concurrent_s: float, cpu_s: float) -> None:
    """One line of JSON: what the bench reads. ``cpu_s`` is of the many calls."""
    figures = {
        "p50_ms": statistics.median(times_s) * 1000,
        "calls_s": CONCURRENT_CALLS / concurrent_s,
        "cpu_us": cpu_s / CONCURRENT_CALLS * 1e6,
    }
    print(json.dumps(figures), flush=True)  # noqa: T201 - for the process that started us


async def measure_calls(call: Callable[[int], Awaitable[object]]) -> None:
    """``call`` is given a number that is new each time, and returns once it has the answer."""
    for number in range(WARMUP_CALLS):
        await call(number)
    times: list[float] = []
    for number in range(WARMUP_CALLS, WARMUP_CALLS + SEQUENTIAL_CALLS):
        began = time.perf_counter()
        await call(number)
        times.append(time.perf_counter() - began)
    numbers = iter(range(WARMUP_CALLS + SEQUENTIAL_CALLS, WARMUP_CALLS + SEQUENTIAL_CALLS + CONCURRENT_CALLS))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    print_figures(times, time.perf_counter() - began, time.process_time() - cpu)


def measure_blocking_calls(send: Callable[[], Callable[[], object]]) -> None:
    """The same for a client that blocks: ``send`` asks, and what it returns waits for the answer."""
    for _ in range(WARMUP_CALLS):
        send()()
    times: list[float] = []
    for _ in range(SEQUENTIAL_CALLS):
        began = time.perf_counter()
        send()()
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    cpu = time.process_time()
    for _ in range(CONCURRENT_CALLS // IN_FLIGHT):
        for answered in [send() for _ in range(IN_FLIGHT)]:
            answered()
    for answered in [send() for _ in range(CONCURRENT_CALLS % IN_FLIGHT)]:
        answered()
    print_figures(times, time.perf_counter() - began, time.process_time() - cpu)
