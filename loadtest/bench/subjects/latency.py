"""How soon after its commit a row of the outbox is with a consumer, at a rate that leaves time to rest."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from loadtest.bench.ground import Ground
from loadtest.bench.rounds import Figures, interleaved
from loadtest.bench.row import Better, Measure, Row, row
from loadtest.bench.subjects.relay import Relays, envelope, relays
from loadtest.bench.yardsticks import relay as yardstick
from loadtest.report.quantiles import latency
from prebook.coupling.ports import BROKER_LANE
from prebook.postgres.wire import to_column
from prebook.runtime.stack.trouble import Trouble

RATE_PER_S, SECONDS, ARRIVES_WITHIN_S = 200, 5, 20.0
P99 = Measure(
    "relay: commit to broker at 200/s, p99",
    "ms",
    Better.LOWER,
    "hand-written relay (asyncpg, aio-pika)",
    1.2,
    "both are woken by NOTIFY from another process; in a service its own commits wake the relay at once",
)
P50 = Measure("relay: commit to broker at 200/s, median", "ms", Better.LOWER, P99.peer_name, 1.2, P99.note)
NumberOf = Callable[[AbstractIncomingMessage], int]
# One statement is one transaction: committed when it returns.
STAGE = """
    WITH staged AS (
        INSERT INTO booking.outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
        VALUES ($1, 'request', 'quote_fare', $2, $4, $3, now(), $2))
    SELECT pg_notify('prebook_outbox_booking', '')"""


@dataclass
class Arrivals:
    """By number: when it was committed, and when it came."""

    expected: int

    def __post_init__(self) -> None:
        self.committed: dict[int, float] = {}
        self.came: dict[int, float] = {}
        self.all = asyncio.Event()

    def note(self, number: int) -> None:
        self.came.setdefault(number, time.perf_counter())
        if len(self.came) == self.expected:
            self.all.set()

    def latencies_ms(self) -> list[float]:
        return [(self.came[number] - at) * 1000 for number, at in self.committed.items()]


async def offered(
    queue: AbstractQueue,
    number_of: Callable[[AbstractIncomingMessage], int],
    commit: Callable[[int], Awaitable[object]],
) -> Figures:
    """Committed one by one at their times, however long the one before took."""
    arrivals = Arrivals(RATE_PER_S * SECONDS)

    async def take(message: AbstractIncomingMessage) -> None:
        arrivals.note(number_of(message))

    tag, began = await queue.consume(take, no_ack=True), time.perf_counter()
    for number in range(arrivals.expected):
        await asyncio.sleep(began + number / RATE_PER_S - time.perf_counter())
        await commit(number)
        arrivals.committed[number] = time.perf_counter()
    try:
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            await arrivals.all.wait()
    except TimeoutError:
        missing = arrivals.expected - len(arrivals.came)
        raise Trouble(f"{missing} rows have not arrived", "report this, with the log of the relay") from None
    finally:
        await queue.cancel(tag)
    found = latency(arrivals.latencies_ms())
    return {"p50_ms": found.p50, "p99_ms": found.p99}


async def offered_to_ours(both: Relays) -> Figures:
    both.number += 1
    run = f"t{both.number}"

    async def commit(number: int) -> None:
        made = envelope(run, number)
        await both.database.execute(STAGE, made.id, made.conversation, to_column(made), BROKER_LANE)

    return await offered(both.ours, lambda message: int(str(message.message_id).split(".")[1]), commit)


async def offered_to_theirs(both: Relays) -> Figures:
    async def commit(number: int) -> None:
        await both.database.execute(
            yardstick.STAGE, f"k{number}", "asked", json.dumps({"seq": number, "ride": "x" * 150})
        )

    return await offered(both.theirs, lambda message: int(json.loads(message.body)["seq"]), commit)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    async with relays(ground, rows=0) as both:
        sides = {"ours": lambda: offered_to_ours(both), "peer": lambda: offered_to_theirs(both)}
        found = await interleaved(sides, rounds)
    ours, peer = found["ours"], found["peer"]
    return [row(measure, ours[name], peer[name]) for name, measure in (("p99_ms", P99), ("p50_ms", P50))]
