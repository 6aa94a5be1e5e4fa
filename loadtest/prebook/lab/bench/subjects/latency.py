"""How soon after its commit a row of the outbox is with a consumer, at a rate that leaves time to rest.

Committed by the process whose relay sends it, as a service does; and by another process, as a replica that is gone.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from prebook.coupling.ports import BROKER_LANE
from prebook.devstack.errors import Trouble
from prebook.lab.bench.baselines import relay as yardstick
from prebook.lab.bench.baselines.outbox_writer import COUNT, RATE_PER_S
from prebook.lab.bench.interpreters import figures
from prebook.lab.bench.rounds import Figures, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row
from prebook.lab.bench.subjects.relay import Relays, beside_each_other, envelope, queues
from prebook.lab.bench.testbed import Ground
from prebook.lab.bench.workload import moments
from prebook.lab.quantiles import latency
from prebook.postgres.message_column import to_column

ARRIVES_WITHIN_S = 20.0
OWN = Measure(
    f"relay: commit to broker at {RATE_PER_S}/s, own commits",
    "ms",
    Better.LOWER,
    "hand-written relay (asyncpg, aio-pika), woken in its process",
    1.2,
    "ours is handed what its process commits; by hand it is looked up",
)
OTHERS = replace(
    OWN,
    name=f"relay: commit to broker at {RATE_PER_S}/s, another's commits",
    peer_name="hand-written relay, woken by NOTIFY",
    note="both are woken by NOTIFY from another process; a service hands its relay its own commits at once",
)
# One statement is one transaction: committed when it returns.
STAGE = """
    WITH staged AS (
        INSERT INTO booking.outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
        VALUES ($1, 'request', 'quote_fare', $2, $4, $3, now(), $2))
    SELECT pg_notify('prebook_outbox_booking', '')"""
NumberOf = Callable[[AbstractIncomingMessage], int]
Committed = Mapping[int, float]
"""Number -> seconds of the monotonic clock."""


@dataclass
class Arrivals:
    """By number, when it came; what was committed to warm up has a number below 0."""

    came: dict[int, float] = field(default_factory=dict)
    all: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, number: int) -> None:
        if number >= 0:
            self.came.setdefault(number, time.perf_counter())
        if len(self.came) == COUNT:
            self.all.set()


async def arriving(queue: AbstractQueue, number_of: NumberOf, offer: Callable[[], Awaitable[Committed]]) -> Figures:
    """Percentiles of the time from commit to arrival. Raises Trouble."""
    arrivals = Arrivals()

    async def take(message: AbstractIncomingMessage) -> None:
        arrivals.note(number_of(message))

    tag = await queue.consume(take, no_ack=True)
    try:
        committed = await offer()
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            await arrivals.all.wait()
    except TimeoutError:
        missing = COUNT - len(arrivals.came)
        raise Trouble(f"{missing} rows have not arrived", "report this, with the log of the relay") from None
    finally:
        await queue.cancel(tag)
    found = latency([(arrivals.came[number] - at) * 1000 for number, at in committed.items()])
    return {"p50_ms": found.p50, "p99_ms": found.p99}


async def offered(commit: Callable[[int], Awaitable[object]]) -> Committed:
    """Committed one by one at their times, however long the one before took."""
    committed = dict[int, float]()
    async for number in moments(range(COUNT), RATE_PER_S):
        await commit(number)
        committed[number] = time.perf_counter()
    return committed


async def others_to_ours(both: Relays) -> Figures:
    both.number += 1
    run = f"t{both.number}"

    async def commit(number: int) -> None:
        made = envelope(run, number)
        await both.database.execute(STAGE, made.id, made.conversation, to_column(made), BROKER_LANE)

    return await arriving(both.ours, _ours, lambda: offered(commit))


async def others_to_theirs(both: Relays) -> Figures:
    async def commit(number: int) -> None:
        await both.database.execute(
            yardstick.STAGE, f"k{number}", "asked", json.dumps({"seq": number, "ride": "x" * 150})
        )

    return await arriving(both.theirs, _theirs, lambda: offered(commit))


async def own(queue: AbstractQueue, number_of: NumberOf, module: str, env: Mapping[str, str]) -> Figures:
    """A process commits, relays and ends."""

    async def offer() -> Committed:
        return {int(number): at for number, at in (await figures(module, env=env)).items()}

    return await arriving(queue, number_of, offer)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    return [*await _own(ground, rounds), *await _others(ground, rounds)]


async def _own(ground: Ground, rounds: int) -> list[Row]:
    given = {"BENCH_DSN": ground.dsn, "BENCH_AMQP_URL": ground.amqp_url}
    async with queues(ground, rows=0) as both:
        await both.database.execute(yardstick.UNWOKEN)
        sides = {
            "ours": lambda: own(both.ours, _ours, "prebook.lab.bench.components.outbox_writer", ground.envs["booking"]),
            "peer": lambda: own(both.theirs, _theirs, "prebook.lab.bench.baselines.outbox_writer", given),
        }
        return _rows(OWN, await interleaved(sides, rounds))


async def _others(ground: Ground, rounds: int) -> list[Row]:
    async with queues(ground, rows=0) as both, beside_each_other(ground):
        sides = {"ours": lambda: others_to_ours(both), "peer": lambda: others_to_theirs(both)}
        return _rows(OTHERS, await interleaved(sides, rounds))


def _rows(measure: Measure, found: Mapping[str, Mapping[str, list[float]]]) -> list[Row]:
    named = {"p99": "p99_ms", "median": "p50_ms"}
    return [
        row(replace(measure, name=f"{measure.name}, {name}"), found["ours"][figure], found["peer"][figure])
        for name, figure in named.items()
    ]


def _ours(message: AbstractIncomingMessage) -> int:
    return int(str(message.message_id).split(".")[1])


def _theirs(message: AbstractIncomingMessage) -> int:
    return int(json.loads(message.body)["seq"])
