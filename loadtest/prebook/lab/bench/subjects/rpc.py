"""Request-reply over the broker: the bare channel beside bare clients and other libraries, and all of it by hand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from prebook.lab.bench.baselines.rpc_client import IN_FLIGHT, SEQUENTIAL_CALLS
from prebook.lab.bench.interpreters import INTERPRETERS_VARIABLE, environment, find_interpreter, measure_module
from prebook.lab.bench.queues import open_channel
from prebook.lab.bench.repliers import Requestor, run_requests, start_repliers
from prebook.lab.bench.rounds import RoundFigures, RoundRunner, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.testbed import BenchTestbed
from prebook.messaging import addresses

NOTE = "ours sends CloudEvents headers, and publishes by a connection of its own"
SAME_HEADERS_NOTE = "headers and connections alike; ours has envelopes, checks and metrics besides"
ONE_IN_FLIGHT = Benchmark("request-reply, {}, 1 in flight, p50", "ms", Better.LOWER, "", 1.15, NOTE)
MANY_IN_FLIGHT = Benchmark(f"request-reply, {{}}, {IN_FLIGHT} in flight", "calls/s", Better.HIGHER, "", 0.85, NOTE)
ENDPOINT_ONE_IN_FLIGHT = Benchmark(
    "request-reply through the endpoint, 1 in flight, p50",
    "ms",
    Better.LOWER,
    "inbox, outbox and relay by hand",
    1.5,
    "one alone shares no transaction; ours claims under leases, in order by key and with any number of relays",
)
ENDPOINT_MANY_IN_FLIGHT = replace(
    ENDPOINT_ONE_IN_FLIGHT, name=f"request-reply through the endpoint, {IN_FLIGHT} in flight", unit="calls/s",
    better=Better.HIGHER, goal=0.7,
)  # fmt: skip
ENDPOINT_CALLS = 1_500


@dataclass(frozen=True)
class RpcBaseline:
    """``module`` serves and asks; ``goals`` are those of ONE and MANY. ``durable``: on quorum queues, persistent.
    ``note``: what it does not have.
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
        "raw aio-pika, headers and connections as ours",
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
    addresses.reply_queue("booking"): (addresses.REPLIES, "booking"),
}
"""Our queues -> exchange and key by which they are reached."""


@asynccontextmanager
async def open_suite_side(testbed: BenchTestbed) -> AsyncIterator[RoundRunner]:
    module = "prebook.lab.bench.components.bare_channel"
    async with testbed.run_module(module, "serve", env=testbed.envs["pricing"]) as server:
        await server.wait_for_output("ready")
        yield lambda: measure_module(module, "measure", env=testbed.envs["booking"])


@asynccontextmanager
async def open_baseline_side(testbed: BenchTestbed, baseline: RpcBaseline, python: str) -> AsyncIterator[RoundRunner]:
    module = f"prebook.lab.bench.baselines.{baseline.module}"
    given = {"BENCH_AMQP_URL": testbed.amqp_url}
    async with testbed.run_module(module, "serve", *baseline.variant, env=environment(given), python=python) as server:
        await server.wait_for_output("ready")
        yield lambda: measure_module(module, "measure", *baseline.variant, env=given, python=python)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Like with like: on our queues as they are, and last on such as the others have, which nothing survives."""
    durable = await _measure_bare_channel(
        testbed, rounds, {name: each for name, each in BASELINES.items() if each.durable}
    )
    endpoint = await _measure_endpoint(testbed, rounds)
    await _make_queues_transient(testbed)
    transient = await _measure_bare_channel(
        testbed, rounds, {name: each for name, each in BASELINES.items() if not each.durable}
    )
    return [*durable, *transient, *endpoint]


async def _make_queues_transient(testbed: BenchTestbed) -> None:
    """Classic queues that end with the broker, under the same names; a persistent message is transient there."""
    connection, channel = await open_channel(testbed)
    for name, (exchange, key) in BINDINGS.items():
        await channel.queue_delete(name)
        queue = await channel.declare_queue(name, durable=False)
        await queue.bind(exchange, key)
    await connection.close()


async def _measure_bare_channel(
    testbed: BenchTestbed, rounds: int, baselines: Mapping[str, RpcBaseline]
) -> list[BenchRow]:
    pythons = {name: await find_interpreter(each.package) for name, each in baselines.items()}
    async with AsyncExitStack() as stack:
        sides: dict[str, RoundRunner] = {"ours": await stack.enter_async_context(open_suite_side(testbed))}
        for name, python in pythons.items():
            if python is not None:
                sides[name] = await stack.enter_async_context(open_baseline_side(testbed, baselines[name], python))
        found = await run_interleaved(sides, rounds)
    return [row for name, each in baselines.items() for row in _rows(each, found["ours"], found.get(name))]


def _rows(
    baseline: RpcBaseline, ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]] | None
) -> list[BenchRow]:
    channel = "bare channel" if baseline.durable else "bare channel, transient queues"
    measures = [
        (replace(measure, name=measure.name.format(channel), baseline_name=baseline.name, goal=goal), figure)
        for measure, goal, figure in zip(
            (ONE_IN_FLIGHT, MANY_IN_FLIGHT), baseline.goals, ("p50_ms", "calls_s"), strict=True
        )
    ]
    if theirs is None:
        why = f"{baseline.package} cannot be imported here, nor by an interpreter of {INTERPRETERS_VARIABLE}"
        return [unmeasured_row(measure, why) for measure, _ in measures]
    note = f"{baseline.note}; {_cpu_note(ours, theirs)}"
    return [bench_row(replace(measure, note=note), ours[figure], theirs[figure]) for measure, figure in measures]


def _cpu_note(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> str:
    return f"the asker's processor time for a call: {median(ours['cpu_us']):.0f} us, {median(theirs['cpu_us']):.0f} us"


async def _measure_endpoint(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    async with start_repliers(testbed) as (suite, by_hand):
        found = await run_interleaved(
            {"ours": partial(_run_requests, suite), "baseline": partial(_run_requests, by_hand)}, rounds
        )
    return [
        bench_row(measure, found["ours"][figure], found["baseline"][figure])
        for measure, figure in ((ENDPOINT_ONE_IN_FLIGHT, "p50_ms"), (ENDPOINT_MANY_IN_FLIGHT, "calls_s"))
    ]


async def _run_requests(requestor: Requestor) -> RoundFigures:
    times = [await requestor.request(*each) for each in requestor.build_requests(SEQUENTIAL_CALLS)]
    many = await run_requests(requestor, ENDPOINT_CALLS, concurrency=IN_FLIGHT)
    return {"p50_ms": median(times) * 1000, "calls_s": many["messages_s"]}
