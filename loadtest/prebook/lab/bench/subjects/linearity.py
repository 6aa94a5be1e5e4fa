"""Whether one message costs the same when there is ten times as much of everything: backlog, inbox, parked messages.

Processor time of the database's own process for the work of one message, from the scheduler's count in nanoseconds: of
what the suite does it is what could depend on how full a table is, and what else runs meanwhile is not in it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.coupling.ports import BROKER_LANE
from prebook.lab.bench.messages import question
from prebook.lab.bench.rounds import Figures, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row, unmeasured
from prebook.lab.bench.testbed import Ground
from prebook.messaging.recoverability.dead_letter import CAUSE, Parcel
from prebook.operations.dead_letters.recorder import Intake
from prebook.operations.sql import OperationsSql
from prebook.postgres.engine import engine_for
from prebook.postgres.message_column import to_column
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.runtime import logging

if TYPE_CHECKING:
    import asyncpg

TIMES, GOAL = 10, 1.1
CLAIMS, CLAIM, ADMITTED, PARKED, WARM = 20, 200, 300, 150, 10
NAMES = count()
SCHEDULED = Path("/proc/self/schedstat")
Work = Callable[[AsyncEngine, int], Awaitable[int]]
"""Does the work of about so many messages; returns of how many."""


@dataclass(frozen=True)
class Table:
    """``fill`` takes the number of rows, and what ``sample`` gives."""

    measure: Measure
    service: str
    name: str
    fill: str
    few: int
    work: Work
    messages: int
    sample: Callable[[], Sequence[str]] = field(default=tuple)


def _measure(what: str) -> Measure:
    deeper = "an index of ten times the rows may be a level deeper, and finds fewer of its pages in a cache near by"
    return Measure(f"linear: {what}", "us/message", Better.LOWER, "the same with a tenth of that", GOAL, deeper)


async def drained(engine: AsyncEngine, messages: int) -> int:
    outbox, done = SqlOutbox(engine, "bench"), 0
    while done < messages:
        claimed = await outbox.claim(CLAIM, lease_s=60.0, full_lanes=())
        await outbox.sent([each.seq for each in claimed])
        done += len(claimed)
    return done


async def admitted(engine: AsyncEngine, messages: int) -> int:
    """A request that is remembered as unanswered."""
    begin = units_of_work(engine, SqlWork)
    for number in (next(NAMES) for _ in range(messages)):
        envelope = question(f"linear{number}.quote_fare", conversation=f"linear{number}")
        async with begin() as work:
            await work.admit(envelope)
            await work.owe(envelope)
    return messages


async def parked(engine: AsyncEngine, messages: int) -> int:
    intake = Intake(units_of_work(engine, OperationsSql))
    for number in (next(NAMES) for _ in range(messages)):
        headers = {"ce-id": f"b{number}.quote_fare", "ce-subject": f"b{number}", CAUSE: "attempts_used_up"}
        await intake.take(Parcel("pricing.requests.quote_fare", headers, b"{}"))
    return messages


def _wire() -> Sequence[str]:
    return (BROKER_LANE, to_column(question("linear.quote_fare", conversation="linear")))


BACKLOG = """
    INSERT INTO pricing.outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
    SELECT 'waits' || n, 'request', 'quote_fare', 'k' || n / 10, $2, $3, now(), 'k' || n / 10
    FROM generate_series(1, $1::int) AS n"""
INBOX = """
    INSERT INTO pricing.inbox (message_id, flow, conversation)
    SELECT md5(n::text), 'quote_fare', md5((n / 3)::text) FROM generate_series(1, $1::int) AS n"""
HELD = """
    INSERT INTO operations.parked (fingerprint, queue, exchange, key, cause, error_type, error, digest, flow, kind,
        type, message_id, conversation, trace_id, attempts, first_failed_at, last_failed_at, payload, payload_bytes,
        headers)
    SELECT md5(n::text), 'pricing.requests.quote_fare', 'prebook.requests', 'quote_fare', 'attempts_used_up',
        'ValueError', 'no fare', md5((n % 20)::text), 'quote_fare', 'request', 'prebook.quote_fare.v1', md5(n::text),
        md5(n::text), md5(n::text), 5, now(), now(), '{}', 2, '{}' FROM generate_series(1, $1::int) AS n"""
TABLES = (
    Table(
        _measure("claim and mark a message, 50,000 in the outbox"),
        "pricing", "outbox", BACKLOG, 5_000, drained, CLAIMS * CLAIM, _wire,
    ),
    Table(_measure("admit a message, 50,000 in the inbox"), "pricing", "inbox", INBOX, 5_000, admitted, ADMITTED),
    Table(_measure("take in a parked one, 20,000 parked"), "operations", "parked", HELD, 2_000, parked, PARKED),
)  # fmt: skip


async def measured(ground: Ground, rounds: int) -> list[Row]:
    logging.configure("bench", "warning")
    return [await _of(ground, table, rounds) for table in TABLES]


async def _of(ground: Ground, table: Table, rounds: int) -> Row:
    if not await asyncio.to_thread(SCHEDULED.exists):
        return unmeasured(table.measure, "the kernel does not count a process's time in /proc/PID/schedstat")
    async with ground.database() as database:
        sides = {"few": _side(ground, table, database, 1), "many": _side(ground, table, database, TIMES)}
        found = await interleaved(sides, rounds)
    return row(table.measure, found["many"]["us"], found["few"]["us"])


def _side(
    ground: Ground, table: Table, database: "asyncpg.Connection[Any]", times: int
) -> Callable[[], Awaitable[Figures]]:
    url = ground.envs[table.service]["PREBOOK_DATABASE_URL"]

    async def side() -> Figures:
        await _filled(database, table, times * table.few)
        engine = engine_for(table.service, url, pool=1, overflow=0)
        try:
            await table.work(engine, WARM)
            before = await _spent_ns(database, table.service)
            done = await table.work(engine, table.messages)
            after = await _spent_ns(database, table.service)
        finally:
            await engine.dispose()
        return {"us": sum(after[pid] - before[pid] for pid in before) / done / 1e3}

    return side


async def _filled(database: "asyncpg.Connection[Any]", table: Table, rows: int) -> None:
    """With what the server's own housekeeping would have done to it by and by."""
    name = f"{table.service}.{table.name}"
    await database.execute(f"TRUNCATE {name} CASCADE")
    await database.execute(table.fill, rows, *table.sample())
    await database.execute(f"VACUUM ANALYZE {name}")


async def _spent_ns(database: "asyncpg.Connection[Any]", service: str) -> Mapping[int, int]:
    """By process that serves us."""
    rows = await database.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"prebook-{service}")
    return {row["pid"]: await asyncio.to_thread(_on_processor_ns, row["pid"]) for row in rows}


def _on_processor_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
