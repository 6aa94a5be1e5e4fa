"""How soon after its commit a row of the outbox is with a consumer, at a rate that leaves time to rest.

Committed by the process whose relay sends it, as a service does; and by another process, as a replica that is gone.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from prebook.coupling.ports import BROKER_ROUTE
from prebook.devstack.errors import UserError
from prebook.lab.bench.baselines import relay as baseline
from prebook.lab.bench.baselines.outbox_writer import COMMITS, RATE_PER_S
from prebook.lab.bench.interpreters import measure_module
from prebook.lab.bench.rounds import RoundFigures, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.subjects.relay import RelayPair, fare_request_of, open_queues, run_relays
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.bench.workload import open_loop
from prebook.lab.quantiles import latency_summary
from prebook.postgres.message_column import to_column

ARRIVAL_TIMEOUT_S = 20.0
OWN_COMMITS = Benchmark(
    f"relay: commit to broker at {RATE_PER_S}/s, own commits",
    "ms",
    Better.LOWER,
    "hand-written relay (asyncpg, aio-pika), woken in its process",
    1.2,
    "ours is handed what its process commits; by hand it is looked up",
)
FOREIGN_COMMITS = replace(
    OWN_COMMITS,
    name=f"relay: commit to broker at {RATE_PER_S}/s, another's commits",
    baseline_name="hand-written relay, woken by NOTIFY",
    note="both are woken by NOTIFY from another process; a service hands its relay its own commits at once",
)
# One statement is one transaction: committed when it returns.
INSERT_AND_NOTIFY = """
    WITH staged AS (
        INSERT INTO booking.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
        VALUES ($1, 'request', 'quote_fare', $2, $4, $3, now(), $2))
    SELECT pg_notify('prebook_outbox_booking', '')"""
NumberOf = Callable[[AbstractIncomingMessage], int]
CommitTimes = Mapping[int, float]
"""Number -> seconds of the monotonic clock."""


@dataclass
class ArrivalTimes:
    """By number, when it came; what was committed to warm up has a number below 0."""

    arrived_at: dict[int, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, number: int) -> None:
        if number >= 0:
            self.arrived_at.setdefault(number, time.perf_counter())
        if len(self.arrived_at) == COMMITS:
            self.complete.set()


async def measure_latency(
    queue: AbstractQueue, number_of: NumberOf, commit_all: Callable[[], Awaitable[CommitTimes]]
) -> RoundFigures:
    """Percentiles of the time from commit to arrival. Raises UserError."""
    arrivals = ArrivalTimes()

    async def take(message: AbstractIncomingMessage) -> None:
        arrivals.record(number_of(message))

    tag = await queue.consume(take, no_ack=True)
    try:
        committed = await commit_all()
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S):
            await arrivals.complete.wait()
    except TimeoutError:
        missing = COMMITS - len(arrivals.arrived_at)
        raise UserError(f"{missing} rows have not arrived", "report this, with the log of the relay") from None
    finally:
        await queue.cancel(tag)
    found = latency_summary([(arrivals.arrived_at[number] - at) * 1000 for number, at in committed.items()])
    return {"p50_ms": found.p50, "p99_ms": found.p99}


async def commit_at_rate(commit: Callable[[int], Awaitable[object]]) -> CommitTimes:
    """Committed one by one at their times, however long the one before took."""
    committed = dict[int, float]()
    async for number in open_loop(range(COMMITS), RATE_PER_S):
        await commit(number)
        committed[number] = time.perf_counter()
    return committed


async def commit_for_suite(relays: RelayPair) -> RoundFigures:
    relays.run_number += 1
    run = f"t{relays.run_number}"

    async def commit(number: int) -> None:
        made = fare_request_of(run, number)
        await relays.database.execute(INSERT_AND_NOTIFY, made.id, made.conversation_id, to_column(made), BROKER_ROUTE)

    return await measure_latency(relays.suite_queue, _suite_number, lambda: commit_at_rate(commit))


async def commit_for_baseline(relays: RelayPair) -> RoundFigures:
    async def commit(number: int) -> None:
        await relays.database.execute(
            baseline.INSERT_MESSAGE, f"k{number}", "requested", json.dumps({"seq": number, "ride": "x" * 150})
        )

    return await measure_latency(relays.baseline_queue, _baseline_number, lambda: commit_at_rate(commit))


async def run_writer(queue: AbstractQueue, number_of: NumberOf, module: str, env: Mapping[str, str]) -> RoundFigures:
    """A process commits, relays and ends."""

    async def offer() -> CommitTimes:
        return {int(number): at for number, at in (await measure_module(module, env=env)).items()}

    return await measure_latency(queue, number_of, offer)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    return [*await _measure_own_commits(testbed, rounds), *await _measure_foreign_commits(testbed, rounds)]


async def _measure_own_commits(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    given = {"BENCH_DSN": testbed.dsn, "BENCH_AMQP_URL": testbed.amqp_url}
    async with open_queues(testbed, rows=0) as both:
        await both.database.execute(baseline.DROP_TRIGGER)
        sides = {
            "ours": lambda: run_writer(
                both.suite_queue, _suite_number, "prebook.lab.bench.components.outbox_writer", testbed.envs["booking"]
            ),
            "baseline": lambda: run_writer(
                both.baseline_queue, _baseline_number, "prebook.lab.bench.baselines.outbox_writer", given
            ),
        }
        return _rows(OWN_COMMITS, await run_interleaved(sides, rounds))


async def _measure_foreign_commits(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    async with open_queues(testbed, rows=0) as both, run_relays(testbed):
        sides = {"ours": lambda: commit_for_suite(both), "baseline": lambda: commit_for_baseline(both)}
        return _rows(FOREIGN_COMMITS, await run_interleaved(sides, rounds))


def _rows(benchmark: Benchmark, found: Mapping[str, Mapping[str, list[float]]]) -> list[BenchRow]:
    named = {"p99": "p99_ms", "median": "p50_ms"}
    return [
        bench_row(
            replace(benchmark, name=f"{benchmark.name}, {name}"), found["ours"][figure], found["baseline"][figure]
        )
        for name, figure in named.items()
    ]


def _suite_number(message: AbstractIncomingMessage) -> int:
    return int(str(message.message_id).split(".")[1])


def _baseline_number(message: AbstractIncomingMessage) -> int:
    return int(json.loads(message.body)["seq"])
