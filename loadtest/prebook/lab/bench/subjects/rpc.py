"""Request-reply over the broker: the bare channel beside bare clients and other libraries, and all of it by hand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from prebook.lab.bench.baselines.rpc_client import IN_FLIGHT, ONE_BY_ONE
from prebook.lab.bench.interpreters import VARIABLE, environment, figures, interpreter_with
from prebook.lab.bench.queues import open_channel
from prebook.lab.bench.repliers import Side, answered, takers
from prebook.lab.bench.rounds import Figures, Round, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row, unmeasured
from prebook.lab.bench.testbed import Ground
from prebook.messaging import addresses

BESIDES = "ours sends CloudEvents headers, and publishes by a connection of its own"
ALIKE = "headers and connections alike; ours has envelopes, checks and metrics besides"
ONE = Measure("request-reply, {}, 1 in flight, p50", "ms", Better.LOWER, "", 1.15, BESIDES)
MANY = Measure(f"request-reply, {{}}, {IN_FLIGHT} in flight", "calls/s", Better.HIGHER, "", 0.85, BESIDES)
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
    """``module`` serves and asks; ``goals`` are those of ONE and MANY. ``kept``: on quorum queues, persistent.
    ``note``: what it does not have.
    """

    name: str
    module: str
    kind: tuple[str, ...] = ()
    package: str = ""
    goals: tuple[float, float] = (1.0, 1.0)
    kept: bool = False
    note: str = BESIDES


RAW = (1.15, 0.85)
PEERS: Mapping[str, Peer] = {
    "kept": Peer("raw aio-pika, quorum queues", "rpc", ("kept",), "aio_pika", RAW, kept=True),
    "told": Peer(
        "raw aio-pika, headers and connections as ours", "rpc", ("told",), "aio_pika", RAW, kept=True, note=ALIKE
    ),
    "fleeting": Peer("raw aio-pika", "rpc", ("fleeting",), "aio_pika", RAW),
    "faststream": Peer("FastStream", "rpc_faststream", (), "faststream.rabbit"),
    "celery": Peer("Celery, one solo worker", "rpc_celery", (), "celery"),
    "nameko": Peer("nameko", "rpc_nameko", (), "nameko.rpc"),
}
ON_THE_WAY = {
    addresses.request_queue("pricing", "quote_fare"): (addresses.REQUESTS, "quote_fare"),
    addresses.reply_queue("booking"): (addresses.REPLIES, "booking"),
}
"""Our queues -> exchange and key by which they are reached."""


@asynccontextmanager
async def ours(ground: Ground) -> AsyncIterator[Round]:
    module = "prebook.lab.bench.components.bare_channel"
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
    """Like with like: on our queues as they are, and last on such as the others have, which nothing survives."""
    kept = await _bare(ground, rounds, {name: peer for name, peer in PEERS.items() if peer.kept})
    whole = await _through_the_endpoint(ground, rounds)
    await _made_fleeting(ground)
    fleeting = await _bare(ground, rounds, {name: peer for name, peer in PEERS.items() if not peer.kept})
    return [*kept, *fleeting, *whole]


async def _made_fleeting(ground: Ground) -> None:
    """Classic queues that end with the broker, under the same names; a persistent message is transient there."""
    connection, channel = await open_channel(ground)
    for name, (exchange, key) in ON_THE_WAY.items():
        await channel.queue_delete(name)
        queue = await channel.declare_queue(name, durable=False)
        await queue.bind(exchange, key)
    await connection.close()


async def _bare(ground: Ground, rounds: int, peers: Mapping[str, Peer]) -> list[Row]:
    pythons = {name: await interpreter_with(peer.package) for name, peer in peers.items()}
    async with AsyncExitStack() as stack:
        sides: dict[str, Round] = {"ours": await stack.enter_async_context(ours(ground))}
        for name, python in pythons.items():
            if python is not None:
                sides[name] = await stack.enter_async_context(theirs(ground, peers[name], python))
        found = await interleaved(sides, rounds)
    return [each for name, peer in peers.items() for each in _rows(peer, found["ours"], found.get(name))]


def _rows(peer: Peer, mine: Mapping[str, Sequence[float]], their: Mapping[str, Sequence[float]] | None) -> list[Row]:
    channel = "bare channel" if peer.kept else "bare channel, transient queues"
    measures = [
        (replace(measure, name=measure.name.format(channel), peer_name=peer.name, goal=goal), figure)
        for measure, goal, figure in zip((ONE, MANY), peer.goals, ("p50_ms", "calls_s"), strict=True)
    ]
    if their is None:
        why = f"{peer.package} cannot be imported here, nor by an interpreter of {VARIABLE}"
        return [unmeasured(measure, why) for measure, _ in measures]
    note = f"{peer.note}; {_cost(mine, their)}"
    return [row(replace(measure, note=note), mine[figure], their[figure]) for measure, figure in measures]


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
