"""Questions taken from a queue: inbox, effect and outbox in one transaction, sixteen at a time, then answered."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from prebook.lab.bench.repliers import Requestor, run_requests, start_repliers
from prebook.lab.bench.rounds import RoundFigures, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.bench.workload import open_loop
from prebook.lab.process_tree import read_cpu_ms

MESSAGES = 3000
TOTAL = "all"
PACED_MESSAGES = 360
PACED_PER_S = 45
"""As many a second as a service takes when 15 rides are asked for in one, by request and reply."""
THROUGHPUT = Benchmark(
    "consume: inbox, effect, outbox in one transaction, 16 at a time",
    "messages/s",
    Better.HIGHER,
    "consumer and relay by hand (asyncpg, aio-pika)",
    0.7,
    "the answers' way through the relay to the broker included, on both sides",
)
CPU_COST = Benchmark(
    "consume: processor time of the process",
    "us/message",
    Better.LOWER,
    "the same by hand",
    1.4,
    "consumer, handler and relay; broker and database are not counted; of ours some 60 us are envelopes, headers and "
    "metrics, measured apart, and the rest tasks and system calls of the clients",
)


PACED_CPU_COST = Benchmark(
    f"consume: processor time of a message at {PACED_PER_S}/s, broker and database included",
    "us/message",
    Better.LOWER,
    "the same by hand",
    1.3,
    "what a ride is made of, one by one: a message that comes, has its effect once, and leaves another",
)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    async with start_repliers(testbed) as (ours, by_hand):
        sides = {"ours": partial(run_requests, ours, MESSAGES), "baseline": partial(run_requests, by_hand, MESSAGES)}
        found = await run_interleaved(sides, rounds)
        rows = [_row(THROUGHPUT, found, "messages_s"), _row(CPU_COST, found, "cpu_us")]
        return [*rows, await _measure_paced(testbed, ours, by_hand, rounds)]


async def _measure_paced(testbed: BenchTestbed, ours: Requestor, baseline: Requestor, rounds: int) -> BenchRow:
    parts = {"broker": testbed.stack.broker.pid, "database": testbed.stack.database.pid}
    pids = {name: pid for name, pid in parts.items() if pid is not None}
    if len(pids) < len(parts):
        return unmeasured_row(PACED_CPU_COST, "broker and database are not processes of ours: set PREBOOK_STACK=local")
    sides = {"ours": partial(_run_paced, ours, pids), "baseline": partial(_run_paced, baseline, pids)}
    found = await run_interleaved(sides, rounds)
    where = f"{PACED_CPU_COST.note}; {_breakdown(found['ours'])}, by hand {_breakdown(found['baseline'])}"
    return _row(replace(PACED_CPU_COST, note=where), found, TOTAL)


def _breakdown(figures: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {median(values):.0f}" for name, values in figures.items() if name != TOTAL)


async def _run_paced(requestor: Requestor, parts: dict[str, int]) -> RoundFigures:
    """Questions at their times; of everybody who has a part in them but us."""
    roots = parts | ({"service": requestor.process.pid} if requestor.process else {})
    questions = list(requestor.build_requests(PACED_MESSAGES))
    before = read_cpu_ms(roots)
    async with asyncio.TaskGroup() as asking:
        async for number in open_loop(range(PACED_MESSAGES), PACED_PER_S):
            asking.create_task(requestor.request(*questions[number]))
    after = read_cpu_ms(roots)
    spent = {name: (after[name] - before[name]) / PACED_MESSAGES * 1000 for name in roots}
    return spent | {TOTAL: sum(spent.values())}


def _row(benchmark: Benchmark, found: dict[str, dict[str, list[float]]], figure: str) -> BenchRow:
    return bench_row(benchmark, found["ours"][figure], found["baseline"][figure])
