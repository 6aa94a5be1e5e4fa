"""Consumption of requests: inbox, effect and outbox in one transaction, 16 concurrent, then the reply."""

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
"""Messages per second that a service gets at 15 rides per second under ``request_reply``."""
THROUGHPUT = Benchmark(
    "consume: inbox, effect and outbox in one transaction, 16 concurrent",
    "messages/s",
    Better.HIGHER,
    "hand-written consumer and relay (asyncpg, aio-pika)",
    0.7,
    "both sides include the replies' way through the relay to the broker",
)
CPU_COST = Benchmark(
    "consume: CPU time of the process",
    "us/message",
    Better.LOWER,
    "hand-written consumer and relay",
    1.4,
    "consumer, handler and relay, without broker and database; about 60 us in ours are envelopes, headers and metrics, "
    "measured separately, the rest are tasks and system calls of the clients",
)


PACED_CPU_COST = Benchmark(
    f"consume: CPU time per message at {PACED_PER_S}/s, broker and database included",
    "us/message",
    Better.LOWER,
    "hand-written consumer and relay",
    1.3,
    "the unit of work of a ride: one message consumed, one effect, one message sent",
)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure throughput and CPU time of both repliers, then CPU time at a constant rate."""
    async with start_repliers(testbed) as (ours, baseline):
        sides = {"ours": partial(run_requests, ours, MESSAGES), "baseline": partial(run_requests, baseline, MESSAGES)}
        figures = await run_interleaved(sides, rounds)
        rows = [_row(THROUGHPUT, figures, "messages_s"), _row(CPU_COST, figures, "cpu_us")]
        return [*rows, await _measure_paced(testbed, ours, baseline, rounds)]


async def _measure_paced(testbed: BenchTestbed, ours: Requestor, baseline: Requestor, rounds: int) -> BenchRow:
    servers = {"broker": testbed.stack.broker.pid, "database": testbed.stack.database.pid}
    pids = {name: pid for name, pid in servers.items() if pid is not None}
    if len(pids) < len(servers):
        return unmeasured_row(PACED_CPU_COST, "broker and database are not local processes; set PREBOOK_STACK=local")
    sides = {"ours": partial(_run_paced, ours, pids), "baseline": partial(_run_paced, baseline, pids)}
    figures = await run_interleaved(sides, rounds)
    note = f"{PACED_CPU_COST.note}; ours {_breakdown(figures['ours'])}; baseline {_breakdown(figures['baseline'])}"
    return _row(replace(PACED_CPU_COST, note=note), figures, TOTAL)


def _breakdown(figures: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {median(values):.0f}" for name, values in figures.items() if name != TOTAL)


async def _run_paced(requestor: Requestor, servers: dict[str, int]) -> RoundFigures:
    """Send requests at PACED_PER_S; return the CPU time per message in us of replier, broker and database."""
    roots = servers | ({"service": requestor.process.pid} if requestor.process else {})
    requests = list(requestor.build_requests(PACED_MESSAGES))
    before = read_cpu_ms(roots)
    async with asyncio.TaskGroup() as tasks:
        async for number in open_loop(range(PACED_MESSAGES), PACED_PER_S):
            tasks.create_task(requestor.request(*requests[number]))
    after = read_cpu_ms(roots)
    cpu_us = {name: (after[name] - before[name]) / PACED_MESSAGES * 1000 for name in roots}
    return cpu_us | {TOTAL: sum(cpu_us.values())}


def _row(benchmark: Benchmark, figures: dict[str, dict[str, list[float]]], figure: str) -> BenchRow:
    return bench_row(benchmark, figures["ours"][figure], figures["baseline"][figure])
