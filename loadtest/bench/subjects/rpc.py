"""Request-reply over the broker: the bare channel beside bare clients and other libraries, and all of it by hand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from loadtest.bench.ground import Ground
from loadtest.bench.interpreters import VARIABLE, environment, figures, interpreter_with
from loadtest.bench.rounds import Figures, Round, interleaved
from loadtest.bench.row import Better, Measure, Row, row, unmeasured
from loadtest.bench.takers import Side, answered, takers
from loadtest.bench.yardsticks.asking import IN_FLIGHT, ONE_BY_ONE

ONE = Measure("request-reply, bare channel, 1 in flight, p50", "ms", Better.LOWER, "", 1.15)
MANY = Measure(f"request-reply, bare channel, {IN_FLIGHT} in flight", "calls/s", Better.HIGHER, "", 0.85)
WHOLE_ONE = Measure(
    "request-reply through the endpoint, 1 in flight, p50",
    "ms",
    Better.LOWER,
    "inbox, outbox and relay by hand",
    1.5,
    "one alone shares no transaction; ours claims under leases, in order by key and with any number of relays",
)
WHOLE_MANY = replace(
    WHOLE_ONE, name=f"request-reply through the endpoint, {IN_FLIGHT} in flight", unit="calls/s",
    better=Better.HIGHER, goal=0.7,
)  # fmt: skip
ENDPOINT_CALLS = 1_500


@dataclass(frozen=True)
class Peer:
    """``module`` serves and asks; ``goals`` are those of ONE and MANY."""

    name: str
    module: str
    kind: tuple[str, ...] = ()
    package: str = ""
    goals: tuple[float, float] = (1.0, 1.0)


RAW = (1.15, 0.85)
PEERS: Mapping[str, Peer] = {
    "kept": Peer("raw aio-pika, quorum queues as ours", "rpc", ("kept",), "aio_pika", RAW),
    "fleeting": Peer("raw aio-pika, classic and exclusive queues, transient", "rpc", ("fleeting",), "aio_pika", RAW),
    "faststream": Peer("FastStream, transient", "rpc_faststream", (), "faststream.rabbit"),
    "celery": Peer("Celery, transient, one solo worker", "rpc_celery", (), "celery"),
    "nameko": Peer("nameko, transient", "rpc_nameko", (), "nameko.rpc"),
}


@asynccontextmanager
async def ours(ground: Ground) -> AsyncIterator[Round]:
    module = "loadtest.bench.ours.bare"
    async with ground.beside(module, "serve", env=ground.envs["pricing"]) as server:
        await server.said("ready")
        yield lambda: figures(module, "ask", env=ground.envs["booking"])


@asynccontextmanager
async def theirs(ground: Ground, peer: Peer, python: str) -> AsyncIterator[Round]:
    module, given = f"loadtest.bench.yardsticks.{peer.module}", {"BENCH_AMQP_URL": ground.amqp_url}
    async with ground.beside(module, "serve", *peer.kind, env=environment(given), python=python) as server:
        await server.said("ready")
        yield lambda: figures(module, "ask", *peer.kind, env=given, python=python)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    return [*await _bare(ground, rounds), *await _through_the_endpoint(ground, rounds)]


async def _bare(ground: Ground, rounds: int) -> list[Row]:
    pythons = {name: await interpreter_with(peer.package) for name, peer in PEERS.items()}
    async with AsyncExitStack() as stack:
        sides: dict[str, Round] = {"ours": await stack.enter_async_context(ours(ground))}
        for name, python in pythons.items():
            if python is not None:
                sides[name] = await stack.enter_async_context(theirs(ground, PEERS[name], python))
        found = await interleaved(sides, rounds)
    return [each for name in PEERS for each in _rows(PEERS[name], found["ours"], found.get(name))]


def _rows(peer: Peer, mine: Mapping[str, Sequence[float]], their: Mapping[str, Sequence[float]] | None) -> list[Row]:
    measures = [
        (replace(measure, peer_name=peer.name, goal=goal), figure)
        for measure, goal, figure in zip((ONE, MANY), peer.goals, ("p50_ms", "calls_s"), strict=True)
    ]
    if their is None:
        why = f"{peer.package} cannot be imported here, nor by an interpreter of {VARIABLE}"
        return [unmeasured(measure, why) for measure, _ in measures]
    return [row(replace(measure, note=_cost(mine, their)), mine[figure], their[figure]) for measure, figure in measures]


def _cost(mine: Mapping[str, Sequence[float]], their: Mapping[str, Sequence[float]]) -> str:
    return f"the asker's processor time for a call: {median(mine['cpu_us']):.0f} us, {median(their['cpu_us']):.0f} us"


async def _through_the_endpoint(ground: Ground, rounds: int) -> list[Row]:
    async with takers(ground) as (suite, by_hand):
        found = await interleaved({"ours": partial(_asked, suite), "peer": partial(_asked, by_hand)}, rounds)
    return [
        row(measure, found["ours"][figure], found["peer"][figure])
        for measure, figure in ((WHOLE_ONE, "p50_ms"), (WHOLE_MANY, "calls_s"))
    ]


async def _asked(side: Side) -> Figures:
    times = [await side.ask(*each) for each in side.questions(ONE_BY_ONE)]
    many = await answered(side, ENDPOINT_CALLS, at_once=IN_FLIGHT)
    return {"p50_ms": median(times) * 1000, "calls_s": many["messages_s"]}
