"""Questions taken from a queue: inbox, effect and outbox in one transaction, sixteen at a time, then answered."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from prebook.lab.bench.repliers import Side, answered, takers
from prebook.lab.bench.rounds import Figures, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row, unmeasured
from prebook.lab.bench.testbed import Ground
from prebook.lab.bench.workload import moments
from prebook.lab.process_tree import spent_ms

MESSAGES = 3000
ALL = "all"
SPARSE, SPARSE_PER_S = 360, 45
"""As many a second as a service takes when 15 rides are asked for in one, by request and reply."""
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


SPARSELY = Measure(
    f"consume: processor time of a message at {SPARSE_PER_S}/s, broker and database included",
    "us/message",
    Better.LOWER,
    "the same by hand",
    1.3,
    "what a ride is made of, one by one: a message that comes, has its effect once, and leaves another",
)


async def measured(ground: Ground, rounds: int) -> list[Row]:
    async with takers(ground) as (ours, by_hand):
        sides = {"ours": partial(answered, ours, MESSAGES), "peer": partial(answered, by_hand, MESSAGES)}
        found = await interleaved(sides, rounds)
        rows = [_row(RATE, found, "messages_s"), _row(COST, found, "cpu_us")]
        return [*rows, await _sparsely(ground, ours, by_hand, rounds)]


async def _sparsely(ground: Ground, ours: Side, by_hand: Side, rounds: int) -> Row:
    parts = {"broker": ground.parts.broker.pid, "database": ground.parts.database.pid}
    pids = {name: pid for name, pid in parts.items() if pid is not None}
    if len(pids) < len(parts):
        return unmeasured(SPARSELY, "broker and database are not processes of ours: set PREBOOK_STACK=local")
    sides = {"ours": partial(_spent, ours, pids), "peer": partial(_spent, by_hand, pids)}
    found = await interleaved(sides, rounds)
    where = f"{SPARSELY.note}; {_parted(found['ours'])}, by hand {_parted(found['peer'])}"
    return _row(replace(SPARSELY, note=where), found, ALL)


def _parted(figures: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {median(values):.0f}" for name, values in figures.items() if name != ALL)


async def _spent(side: Side, parts: dict[str, int]) -> Figures:
    """Questions at their times; of everybody who has a part in them but us."""
    roots = parts | ({"service": side.process.pid} if side.process else {})
    questions, before = list(side.questions(SPARSE)), spent_ms(roots)
    async with asyncio.TaskGroup() as asking:
        async for number in moments(range(SPARSE), SPARSE_PER_S):
            asking.create_task(side.ask(*questions[number]))
    after = spent_ms(roots)
    spent = {name: (after[name] - before[name]) / SPARSE * 1000 for name in roots}
    return spent | {ALL: sum(spent.values())}


def _row(measure: Measure, found: dict[str, dict[str, list[float]]], figure: str) -> Row:
    return row(measure, found["ours"][figure], found["peer"][figure])
