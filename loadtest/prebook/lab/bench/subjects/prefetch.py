"""How many messages a consumer should have in hand: each number beside the default, with a fast and a slow handler."""

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
"""Handler -> seconds for which it waits for others, and how many messages are measured."""
MAX_DURATION_S = 6.0
"""So long one measurement may take: one at a time, a slow handler gets fewer messages."""
MAX_ROUNDS = 2
"""Each starts ten processes; the numbers differ by more than rounds do."""
FEW_IN_FLIGHT = 8
JOIN_DELAY_S = 0.2
CONCURRENCY = 512
MAX_ADVANTAGE = 1.25
HandlerPrefetch = tuple[str, int]


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Every number in every round; each has its own process, since what it has in hand is fixed when it starts."""
    found: dict[HandlerPrefetch, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with create_tables(testbed), divert_replies(testbed) as (channel, queue):
        side = await open_suite_requestor(testbed, channel, queue, None)
        for _ in range(min(rounds, MAX_ROUNDS)):
            for handler in HANDLERS:
                for prefetch in PREFETCHES:
                    for figure, value in (await _measure_prefetch(testbed, channel, side, handler, prefetch)).items():
                        found[handler, prefetch][figure].append(value)
    return [_row(found, handler, prefetch) for handler in HANDLERS for prefetch in PREFETCHES]


async def _measure_prefetch(
    testbed: BenchTestbed, channel: AbstractChannel, requestor: Requestor, handler: str, prefetch: int
) -> RoundFigures:
    slow_s, count = HANDLERS[handler]
    count = min(count, int(MAX_DURATION_S * prefetch / slow_s)) if slow_s else count
    async with start_stub_service(testbed, prefetch, **{DELAY_VARIABLE: str(slow_s)}) as process:
        requestor.process = process
        await run_requests(requestor, FEW_IN_FLIGHT, concurrency=FEW_IN_FLIGHT)
        few = await _measure_wait_ms(requestor, count // 4)
        many = await run_requests(requestor, count, concurrency=CONCURRENCY)
        memory = read_resident_mb(process.pid)
        share = await _measure_latecomer_share(channel, requestor, prefetch, count // 2)
    return {"messages_s": many["messages_s"], "wait_ms": few, "memory_mb": memory, "share": share}


async def _measure_wait_ms(requestor: Requestor, count: int) -> float:
    """Median time of a question, with few of them in flight."""
    times: list[float] = []
    questions = iter(requestor.build_requests(count))

    async def asker() -> None:
        for name, message in questions:
            times.append(await requestor.request(name, message))

    await asyncio.gather(*(asker() for _ in range(FEW_IN_FLIGHT)))
    return median(times) * 1000


async def _measure_latecomer_share(channel: AbstractChannel, requestor: Requestor, prefetch: int, count: int) -> float:
    """Of what was left when it came; NaN where nothing was. It takes as many at a time, and as long for each, so that
    half would be fair.
    """
    taken: list[float] = []

    async def take(message: AbstractIncomingMessage) -> None:
        taken.append(time.perf_counter())
        await asyncio.sleep(HANDLERS["slow"][0])
        requestor.complete(str(message.message_id))
        await message.ack()

    asked = [asyncio.create_task(requestor.request(*each)) for each in requestor.build_requests(count)]
    await asyncio.sleep(JOIN_DELAY_S)
    left = len(requestor.pending)
    await channel.set_qos(prefetch_count=prefetch)
    late = await channel.get_queue(addresses.request_queue("pricing", "quote_fare"), ensure=False)
    tag = await late.consume(take)
    await asyncio.gather(*asked)
    await late.cancel(tag)
    return len(taken) / left if left else nan


def _share_text(share: float) -> str:
    return "nothing left" if isnan(share) else f"{share:.0%} of the backlog"


def _row(found: Mapping[HandlerPrefetch, Mapping[str, Sequence[float]]], handler: str, prefetch: int) -> BenchRow:
    """The default is good enough where no other number is much better."""
    mine = found[handler, prefetch]
    default = found[handler, DEFAULT_PREFETCH]
    few, memory, share = (median(mine[figure]) for figure in ("wait_ms", "memory_mb", "share"))
    measure = Benchmark(
        f"prefetch {prefetch}, {handler} handler",
        "messages/s",
        Better.LOWER,
        f"prefetch {DEFAULT_PREFETCH}, the default",
        MAX_ADVANTAGE,
        f"{few:.0f} ms with {FEW_IN_FLIGHT} in flight; {memory:.0f} MB; {_share_text(share)} for one that joins later",
    )
    return bench_row(measure, mine["messages_s"], default["messages_s"])
