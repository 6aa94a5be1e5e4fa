"""Questions taken from a queue: inbox, effect and outbox in one transaction, sixteen at a time, then answered."""

from functools import partial

from loadtest.bench.ground import Ground
from loadtest.bench.rounds import interleaved
from loadtest.bench.row import Better, Measure, Row, row
from loadtest.bench.takers import answered, takers

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
    "consumer, handler and relay; broker and database are not counted; of ours some 60 us are envelopes, headers and "
    "metrics, measured apart, and the rest tasks and system calls of the clients",
)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    async with takers(ground) as (ours, by_hand):
        sides = {"ours": partial(answered, ours, MESSAGES), "peer": partial(answered, by_hand, MESSAGES)}
        found = await interleaved(sides, rounds)
    return [_row(RATE, found, "messages_s"), _row(COST, found, "cpu_us")]


def _row(measure: Measure, found: dict[str, dict[str, list[float]]], figure: str) -> Row:
    return row(measure, found["ours"][figure], found["peer"][figure])
