"""Latency from the commit of an outbox row to its arrival at a consumer, at a rate far below the maximum.

The rows are committed by the process whose relay sends them, as in a service; or by another process, as the rows that a
crashed replica leaves to the others.
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
from prebook.lab.bench.testbed import BUG_REMEDY, BenchTestbed
from prebook.lab.bench.workload import open_loop
from prebook.lab.quantiles import latency_summary
from prebook.postgres.message_column import to_column

ARRIVAL_TIMEOUT_S = 20.0
OWN_COMMITS = Benchmark(
    f"relay: commit to broker at {RATE_PER_S}/s, commits of its process",
    "ms",
    Better.LOWER,
    "hand-written relay (asyncpg, aio-pika), woken in its process",
    1.2,
    "ours gets the committed rows in memory; the hand-written relay reads them from the table",
)
FOREIGN_COMMITS = replace(
    OWN_COMMITS,
    name=f"relay: commit to broker at {RATE_PER_S}/s, commits of another process",
    baseline_name="hand-written relay, woken by NOTIFY",
    note="both relays are woken by NOTIFY from another process",
)
# One statement, so that it commits as it returns.
INSERT_AND_NOTIFY = """
    WITH inserted AS (
        INSERT INTO booking.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
        VALUES ($1, 'request', 'quote_fare', $2, $4, $3, now(), $2))
    SELECT pg_notify('prebook_outbox_booking', '')"""
NumberOf = Callable[[AbstractIncomingMessage], int]
"""Returns the number under which a message was committed."""
CommitTimes = Mapping[int, float]
"""Commit time by number, in seconds of the monotonic clock."""


@dataclass
class ArrivalTimes:
    """Arrival time by number, in seconds of the monotonic clock; numbers below 0 are the warm-up and are ignored."""

    arrived_at: dict[int, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, number: int) -> None:
        """Record the arrival of a message now; set ``complete`` once all COMMITS have arrived."""
        if number >= 0:
            self.arrived_at.setdefault(number, time.perf_counter())
        if len(self.arrived_at) == COMMITS:
            self.complete.set()


async def measure_latency(
    queue: AbstractQueue, number_of: NumberOf, commit_all: Callable[[], Awaitable[CommitTimes]]
) -> RoundFigures:
    """Consume ``queue`` while ``commit_all`` commits; return ``p50_ms`` and ``p99_ms`` from commit to arrival.

    Raises:
        UserError: Messages were still missing ARRIVAL_TIMEOUT_S seconds after the last commit.
    """
    arrivals = ArrivalTimes()

    async def on_message(message: AbstractIncomingMessage) -> None:
        arrivals.record(number_of(message))

    tag = await queue.consume(on_message, no_ack=True)
    try:
        committed = await commit_all()
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S):
            await arrivals.complete.wait()
    except TimeoutError:
        missing = COMMITS - len(arrivals.arrived_at)
        raise UserError(f"{missing} rows have not arrived", BUG_REMEDY) from None
    finally:
        await queue.cancel(tag)
    summary = latency_summary(
        [(arrivals.arrived_at[number] - committed_at) * 1000 for number, committed_at in committed.items()]
    )
    return {"p50_ms": summary.p50, "p99_ms": summary.p99}


async def commit_at_rate(commit: Callable[[int], Awaitable[object]]) -> CommitTimes:
    """Call ``commit`` with consecutive numbers at RATE_PER_S and return the commit times."""
    committed = dict[int, float]()
    async for number in open_loop(range(COMMITS), RATE_PER_S):
        await commit(number)
        committed[number] = time.perf_counter()
    return committed


async def commit_for_suite(relays: RelayPair) -> RoundFigures:
    """Commit from this process to booking's outbox and return the latency through booking's relay."""
    relays.run_number += 1
    run = f"t{relays.run_number}"

    async def commit(number: int) -> None:
        request = fare_request_of(run, number)
        values = (request.id, request.conversation_id, to_column(request), BROKER_ROUTE)
        await relays.database.execute(INSERT_AND_NOTIFY, *values)

    return await measure_latency(relays.suite_queue, _suite_number, lambda: commit_at_rate(commit))


async def commit_for_baseline(relays: RelayPair) -> RoundFigures:
    """Commit from this process to the hand-written outbox and return the latency through its relay."""

    async def commit(number: int) -> None:
        await relays.database.execute(
            baseline.INSERT_MESSAGE, f"k{number}", "requested", json.dumps({"seq": number, "ride": "x" * 150})
        )

    return await measure_latency(relays.baseline_queue, _baseline_number, lambda: commit_at_rate(commit))


async def run_writer(queue: AbstractQueue, number_of: NumberOf, module: str, env: Mapping[str, str]) -> RoundFigures:
    """Run ``module``, a process that commits and relays by itself, and return the latency."""

    async def commit_all() -> CommitTimes:
        return {int(number): committed_at for number, committed_at in (await measure_module(module, env=env)).items()}

    return await measure_latency(queue, number_of, commit_all)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure the latency of commits of its own process and of another process."""
    return [*await _measure_own_commits(testbed, rounds), *await _measure_foreign_commits(testbed, rounds)]


async def _measure_own_commits(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    baseline_env = {"BENCH_DSN": testbed.dsn, "BENCH_AMQP_URL": testbed.amqp_url}
    async with open_queues(testbed, rows=0) as relays:
        await relays.database.execute(baseline.DROP_TRIGGER)
        sides = {
            "ours": lambda: run_writer(
                relays.suite_queue, _suite_number, "prebook.lab.bench.components.outbox_writer", testbed.envs["booking"]
            ),
            "baseline": lambda: run_writer(
                relays.baseline_queue, _baseline_number, "prebook.lab.bench.baselines.outbox_writer", baseline_env
            ),
        }
        return _rows(OWN_COMMITS, await run_interleaved(sides, rounds))


async def _measure_foreign_commits(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    async with open_queues(testbed, rows=0) as relays, run_relays(testbed):
        sides = {"ours": lambda: commit_for_suite(relays), "baseline": lambda: commit_for_baseline(relays)}
        return _rows(FOREIGN_COMMITS, await run_interleaved(sides, rounds))


def _rows(benchmark: Benchmark, figures: Mapping[str, Mapping[str, list[float]]]) -> list[BenchRow]:
    figure_names = {"p99": "p99_ms", "median": "p50_ms"}
    return [
        bench_row(
            replace(benchmark, name=f"{benchmark.name}, {name}"), figures["ours"][figure], figures["baseline"][figure]
        )
        for name, figure in figure_names.items()
    ]


def _suite_number(message: AbstractIncomingMessage) -> int:
    return int(str(message.message_id).split(".")[1])


def _baseline_number(message: AbstractIncomingMessage) -> int:
    return int(json.loads(message.body)["seq"])
