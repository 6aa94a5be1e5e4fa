"""Questions taken from a queue: inbox, effect and outbox in one transaction, sixteen at a time, then answered."""

import asyncio
import time

import aio_pika

from loadtest.bench.ground import Ground
from loadtest.bench.rounds import Figures, interleaved
from loadtest.bench.row import Better, Measure, Row, row
from loadtest.bench.takers import AT_ONCE, Side, takers

MESSAGES = 3000
RATE = Measure(
    "consume: inbox, effect, outbox in one transaction, 16 at a time",
    "messages/s",
    Better.HIGHER,
    "consumer and relay by hand (asyncpg, aio-pika)",
    0.7,
    "the answers' way through the relay to the broker included, on both sides",
)
COST = Measure(
    "consume: processor time of the process",
    "us/message",
    Better.LOWER,
    "the same by hand",
    1.4,
    "consumer, handler and relay; broker and database are not counted",
)


async def consumed(side: Side, count: int) -> Figures:
    """All of them are there before most have been taken: a question costs its asker less than its taker."""
    questions = side.questions(count)
    cpu_s, began = side.cpu_s(), time.perf_counter()
    gate = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(_asked(side, gate, *each) for each in questions))
    took = time.perf_counter() - began
    return {"messages_s": count / took, "cpu_us": (side.cpu_s() - cpu_s) / count * 1e6}


async def _asked(side: Side, gate: asyncio.Semaphore, name: str, message: aio_pika.Message) -> None:
    async with gate:
        await side.ask(name, message)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    async with takers(ground) as (ours, by_hand):
        sides = {"ours": lambda: consumed(ours, MESSAGES), "peer": lambda: consumed(by_hand, MESSAGES)}
        found = await interleaved(sides, rounds)
    return [_row(RATE, found, "messages_s"), _row(COST, found, "cpu_us")]


def _row(measure: Measure, found: dict[str, dict[str, list[float]]], figure: str) -> Row:
    return row(measure, found["ours"][figure], found["peer"][figure])
