"""Load of all sides of the request-reply benchmark: sequential calls, then many in flight.

Uses the standard library only, since a baseline may run on another interpreter without the suite's dependencies.
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
    """Print median latency, throughput and CPU time per call as one line of JSON, which the bench reads.

    ``times_s``: latencies of the sequential calls. ``concurrent_s``, ``cpu_s``: duration and CPU time of the
    concurrent calls.
    """
    figures = {
        "p50_ms": statistics.median(times_s) * 1000,
        "calls_s": CONCURRENT_CALLS / concurrent_s,
        "cpu_us": cpu_s / CONCURRENT_CALLS * 1e6,
    }
    print(json.dumps(figures), flush=True)  # noqa: T201 - read by the parent process


async def measure_calls(call: Callable[[int], Awaitable[object]]) -> None:
    """Measure ``call`` and print the figures. It gets a new number each time and returns once it has the reply."""
    for number in range(WARMUP_CALLS):
        await call(number)
    times: list[float] = []
    for number in range(WARMUP_CALLS, WARMUP_CALLS + SEQUENTIAL_CALLS):
        started = time.perf_counter()
        await call(number)
        times.append(time.perf_counter() - started)
    numbers = iter(range(WARMUP_CALLS + SEQUENTIAL_CALLS, WARMUP_CALLS + SEQUENTIAL_CALLS + CONCURRENT_CALLS))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    started = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    print_figures(times, time.perf_counter() - started, time.process_time() - cpu)


def measure_blocking_calls(send: Callable[[], Callable[[], object]]) -> None:
    """Measure a blocking client and print the figures. ``send``: sends a request and returns a function to await it."""
    for _ in range(WARMUP_CALLS):
        send()()
    times: list[float] = []
    for _ in range(SEQUENTIAL_CALLS):
        started = time.perf_counter()
        send()()
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    cpu = time.process_time()
    for _ in range(CONCURRENT_CALLS // IN_FLIGHT):
        for wait in [send() for _ in range(IN_FLIGHT)]:
            wait()
    for wait in [send() for _ in range(CONCURRENT_CALLS % IN_FLIGHT)]:
        wait()
    print_figures(times, time.perf_counter() - started, time.process_time() - cpu)
