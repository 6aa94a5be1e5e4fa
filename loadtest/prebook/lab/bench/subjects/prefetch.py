"""Prefetch of a consumer: throughput and latency of several values against the default, with two handlers."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isnan, nan
from statistics import median

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from prebook.contracts.plan import Coupling
from prebook.lab.bench.repliers import (
    Requestor,
    create_tables,
    divert_replies,
    open_suite_requestor,
    run_requests,
    start_stub_service,
)
from prebook.lab.bench.rounds import RoundFigures
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.stub_service import DELAY_VARIABLE
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.process_tree import read_resident_mb
from prebook.messaging import addresses
from prebook.messaging.policy import FlowPolicy

PREFETCHES = (1, 8, 32, 64, 256)
DEFAULT_PREFETCH = FlowPolicy(coupling=Coupling.ONE_WAY).prefetch
HANDLERS: Mapping[str, tuple[float, int]] = {"fast": (0.0, 800), "slow": (0.05, 320)}
"""Delay in seconds before the transaction, and number of messages, of each handler."""
MAX_DURATION_S = 6.0
"""Maximum duration of a measurement; a slow handler with a small prefetch gets fewer messages."""
MAX_ROUNDS = 2
"""Maximum number of rounds. A round starts ten processes, and the values differ by more than rounds do."""
FEW_IN_FLIGHT = 8
JOIN_DELAY_S = 0.2
"""Delay after which a second consumer joins."""
CONCURRENCY = 512
MAX_ADVANTAGE = 1.25
"""Maximum ratio by which another value may exceed the throughput of the default."""
HandlerPrefetch = tuple[str, int]
"""Handler and prefetch."""


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure every prefetch with every handler, each in a new process, since the prefetch is fixed at its start."""
    figures: dict[HandlerPrefetch, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with create_tables(testbed), divert_replies(testbed) as (channel, queue):
        requestor = await open_suite_requestor(channel, queue, None)
        for _ in range(min(rounds, MAX_ROUNDS)):
            for handler in HANDLERS:
                for prefetch in PREFETCHES:
                    measured = await _measure_prefetch(testbed, channel, requestor, handler, prefetch)
                    for name, value in measured.items():
                        figures[handler, prefetch][name].append(value)
    return [_row(figures, handler, prefetch) for handler in HANDLERS for prefetch in PREFETCHES]


async def _measure_prefetch(
    testbed: BenchTestbed, channel: AbstractChannel, requestor: Requestor, handler: str, prefetch: int
) -> RoundFigures:
    """Return throughput, latency with few requests in flight, memory, and the share of a consumer that joins later."""
    delay_s, count = HANDLERS[handler]
    count = min(count, int(MAX_DURATION_S * prefetch / delay_s)) if delay_s else count
    async with start_stub_service(testbed, prefetch, **{DELAY_VARIABLE: str(delay_s)}) as process:
        requestor.process = process
        await run_requests(requestor, FEW_IN_FLIGHT, concurrency=FEW_IN_FLIGHT)
        wait_ms = await _measure_wait_ms(requestor, count // 4)
        throughput = await run_requests(requestor, count, concurrency=CONCURRENCY)
        memory_mb = read_resident_mb(process.pid)
        share = await _measure_latecomer_share(channel, requestor, prefetch, count // 2)
    return {"messages_s": throughput["messages_s"], "wait_ms": wait_ms, "memory_mb": memory_mb, "share": share}


async def _measure_wait_ms(requestor: Requestor, count: int) -> float:
    """Return the median time from request to reply in ms, with FEW_IN_FLIGHT requests in flight."""
    times_s: list[float] = []
    requests = iter(requestor.build_requests(count))

    async def worker() -> None:
        for request_id, message in requests:
            times_s.append(await requestor.request(request_id, message))

    await asyncio.gather(*(worker() for _ in range(FEW_IN_FLIGHT)))
    return median(times_s) * 1000


async def _measure_latecomer_share(channel: AbstractChannel, requestor: Requestor, prefetch: int, count: int) -> float:
    """Return the share of the backlog that a second consumer gets if it joins after JOIN_DELAY_S.

    It has the same prefetch and the delay of the slow handler, so that half is fair. NaN if no backlog was left.
    """
    consumed_at: list[float] = []

    async def on_message(message: AbstractIncomingMessage) -> None:
        consumed_at.append(time.perf_counter())
        await asyncio.sleep(HANDLERS["slow"][0])
        requestor.complete(str(message.message_id))
        await message.ack()

    requests = [asyncio.create_task(requestor.request(*request)) for request in requestor.build_requests(count)]
    await asyncio.sleep(JOIN_DELAY_S)
    backlog = len(requestor.pending)
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(addresses.request_queue("pricing", "quote_fare"), ensure=False)
    tag = await queue.consume(on_message)
    await asyncio.gather(*requests)
    await queue.cancel(tag)
    return len(consumed_at) / backlog if backlog else nan


def _share_text(share: float) -> str:
    return "no backlog" if isnan(share) else f"{share:.0%} of the backlog"


def _row(figures: Mapping[HandlerPrefetch, Mapping[str, Sequence[float]]], handler: str, prefetch: int) -> BenchRow:
    """Return the row of one prefetch. It meets its goal if it is not much better than the default."""
    measured = figures[handler, prefetch]
    default = figures[handler, DEFAULT_PREFETCH]
    wait_ms = median(measured["wait_ms"])
    memory_mb = median(measured["memory_mb"])
    share = median(measured["share"])
    benchmark = Benchmark(
        f"prefetch {prefetch}, {handler} handler",
        "messages/s",
        Better.LOWER,
        f"prefetch {DEFAULT_PREFETCH}, the default",
        MAX_ADVANTAGE,
        f"{wait_ms:.0f} ms with {FEW_IN_FLIGHT} in flight; {memory_mb:.0f} MB; latecomer gets {_share_text(share)}",
    )
    return bench_row(benchmark, measured["messages_s"], default["messages_s"])
