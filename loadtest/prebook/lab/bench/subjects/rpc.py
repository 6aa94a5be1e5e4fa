"""Request-reply over the broker: bare channel against other libraries, and endpoint against hand-written code."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from prebook.lab.bench.baselines.rpc_client import IN_FLIGHT, SEQUENTIAL_CALLS
from prebook.lab.bench.interpreters import INTERPRETERS_VARIABLE, environment, find_interpreter, measure_module
from prebook.lab.bench.queues import open_channel
from prebook.lab.bench.repliers import FARE_REPLY_KEY, Requestor, run_requests, start_repliers
from prebook.lab.bench.rounds import RoundFigures, RoundRunner, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.testbed import BenchTestbed
from prebook.messaging import addresses

NOTE = "ours sends CloudEvents headers, and publishes on a separate connection"
SAME_HEADERS_NOTE = "same headers and connections; ours adds envelopes, validation and metrics"
ONE_IN_FLIGHT = Benchmark("request-reply, {}, 1 in flight, p50", "ms", Better.LOWER, "", 1.15, NOTE)
MANY_IN_FLIGHT = Benchmark(f"request-reply, {{}}, {IN_FLIGHT} in flight", "calls/s", Better.HIGHER, "", 0.85, NOTE)
ENDPOINT_ONE_IN_FLIGHT = Benchmark(
    "request-reply through the endpoint, 1 in flight, p50",
    "ms",
    Better.LOWER,
    "hand-written inbox, outbox and relay",
    1.5,
    "a single request shares no transaction; ours claims under leases, in order by key, with any number of relays",
)
ENDPOINT_MANY_IN_FLIGHT = replace(
    ENDPOINT_ONE_IN_FLIGHT, name=f"request-reply through the endpoint, {IN_FLIGHT} in flight", unit="calls/s",
    better=Better.HIGHER, goal=0.7,
)  # fmt: skip
ENDPOINT_CALLS = 1_500


@dataclass(frozen=True)
class RpcBaseline:
    """Another implementation of request-reply.

    ``module``: module of ``bench.baselines`` that serves and measures, with the arguments ``variant``. ``package``: the
    package it needs. ``goals``: of one request and of many in flight. ``durable``: whether it has quorum queues and
    persistent messages. ``note``: its difference to the suite.
    """

    name: str
    module: str
    variant: tuple[str, ...] = ()
    package: str = ""
    goals: tuple[float, float] = (1.0, 1.0)
    durable: bool = False
    note: str = NOTE


RAW_GOALS = (1.15, 0.85)
BASELINES: Mapping[str, RpcBaseline] = {
    "durable": RpcBaseline("raw aio-pika, quorum queues", "rpc", ("durable",), "aio_pika", RAW_GOALS, durable=True),
    "with_headers": RpcBaseline(
        "raw aio-pika, same headers and connections",
        "rpc",
        ("with_headers",),
        "aio_pika",
        RAW_GOALS,
        durable=True,
        note=SAME_HEADERS_NOTE,
    ),
    "transient": RpcBaseline("raw aio-pika", "rpc", ("transient",), "aio_pika", RAW_GOALS),
    "faststream": RpcBaseline("FastStream", "rpc_faststream", (), "faststream.rabbit"),
    "celery": RpcBaseline("Celery, one solo worker", "rpc_celery", (), "celery"),
    "nameko": RpcBaseline("nameko", "rpc_nameko", (), "nameko.rpc"),
}
BINDINGS = {
    addresses.request_queue("pricing", "quote_fare"): (addresses.REQUESTS, "quote_fare"),
    addresses.reply_queue("booking"): (addresses.REPLIES, FARE_REPLY_KEY),
}
"""Exchange and binding key of each queue of the suite that the bench uses."""


@asynccontextmanager
async def open_suite_side(testbed: BenchTestbed) -> AsyncIterator[RoundRunner]:
    """Start the provider on the suite's bare channel; yield rounds that run the caller in a process."""
    module = "prebook.lab.bench.components.bare_channel"
    async with testbed.run_module(module, "serve", env=testbed.envs["pricing"]) as server:
        await server.wait_for_output("ready")
        yield lambda: measure_module(module, "measure", env=testbed.envs["booking"])


@asynccontextmanager
async def open_baseline_side(testbed: BenchTestbed, baseline: RpcBaseline, python: str) -> AsyncIterator[RoundRunner]:
    """Start the provider of ``baseline`` on the interpreter ``python``; yield rounds that run its caller."""
    module = f"prebook.lab.bench.baselines.{baseline.module}"
    caller_env = {"BENCH_AMQP_URL": testbed.amqp_url}
    async with testbed.run_module(
        module, "serve", *baseline.variant, env=environment(caller_env), python=python
    ) as server:
        await server.wait_for_output("ready")
        yield lambda: measure_module(module, "measure", *baseline.variant, env=caller_env, python=python)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Compare with durable baselines on the suite's quorum queues, then with transient ones on transient queues."""
    durable_baselines = {name: baseline for name, baseline in BASELINES.items() if baseline.durable}
    transient_baselines = {name: baseline for name, baseline in BASELINES.items() if not baseline.durable}
    durable = await _measure_bare_channel(testbed, rounds, durable_baselines)
    endpoint = await _measure_endpoint(testbed, rounds)
    await _make_queues_transient(testbed)
    transient = await _measure_bare_channel(testbed, rounds, transient_baselines)
    return [*durable, *transient, *endpoint]


async def _make_queues_transient(testbed: BenchTestbed) -> None:
    """Replace the suite's queues by non-durable classic queues of the same names, which keep no message on disk."""
    connection, channel = await open_channel(testbed)
    for name, (exchange, key) in BINDINGS.items():
        await channel.queue_delete(name)
        queue = await channel.declare_queue(name, durable=False)
        await queue.bind(exchange, key)
    await connection.close()


async def _measure_bare_channel(
    testbed: BenchTestbed, rounds: int, baselines: Mapping[str, RpcBaseline]
) -> list[BenchRow]:
    pythons = {name: await find_interpreter(baseline.package) for name, baseline in baselines.items()}
    async with AsyncExitStack() as stack:
        sides: dict[str, RoundRunner] = {"ours": await stack.enter_async_context(open_suite_side(testbed))}
        for name, python in pythons.items():
            if python is not None:
                sides[name] = await stack.enter_async_context(open_baseline_side(testbed, baselines[name], python))
        figures = await run_interleaved(sides, rounds)
    return [row for name, baseline in baselines.items() for row in _rows(baseline, figures["ours"], figures.get(name))]


def _rows(
    baseline: RpcBaseline, ours: Mapping[str, Sequence[float]], measured: Mapping[str, Sequence[float]] | None
) -> list[BenchRow]:
    """Return the rows of one baseline. ``measured``: its figures, None if its package was not found."""
    channel = "bare channel" if baseline.durable else "bare channel, transient queues"
    benchmarks = [
        (replace(benchmark, name=benchmark.name.format(channel), baseline_name=baseline.name, goal=goal), figure)
        for benchmark, goal, figure in zip(
            (ONE_IN_FLIGHT, MANY_IN_FLIGHT), baseline.goals, ("p50_ms", "calls_s"), strict=True
        )
    ]
    if measured is None:
        reason = f"{baseline.package} cannot be imported by this interpreter nor by one of {INTERPRETERS_VARIABLE}"
        return [unmeasured_row(benchmark, reason) for benchmark, _ in benchmarks]
    note = f"{baseline.note}; {_cpu_note(ours, measured)}"
    return [
        bench_row(replace(benchmark, note=note), ours[figure], measured[figure]) for benchmark, figure in benchmarks
    ]


def _cpu_note(ours: Mapping[str, Sequence[float]], baseline: Mapping[str, Sequence[float]]) -> str:
    ours_us = median(ours["cpu_us"])
    baseline_us = median(baseline["cpu_us"])
    return f"CPU time of the caller per call: ours {ours_us:.0f} us, baseline {baseline_us:.0f} us"


async def _measure_endpoint(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    async with start_repliers(testbed) as (ours, baseline):
        sides = {"ours": partial(_run_requests, ours), "baseline": partial(_run_requests, baseline)}
        figures = await run_interleaved(sides, rounds)
    return [
        bench_row(benchmark, figures["ours"][figure], figures["baseline"][figure])
        for benchmark, figure in ((ENDPOINT_ONE_IN_FLIGHT, "p50_ms"), (ENDPOINT_MANY_IN_FLIGHT, "calls_s"))
    ]


async def _run_requests(requestor: Requestor) -> RoundFigures:
    times_s = [await requestor.request(*request) for request in requestor.build_requests(SEQUENTIAL_CALLS)]
    concurrent = await run_requests(requestor, ENDPOINT_CALLS, concurrency=IN_FLIGHT)
    return {"p50_ms": median(times_s) * 1000, "calls_s": concurrent["messages_s"]}
