"""Every cell, run: one process crashes at its point and is started again, and then the effects are counted."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec

from prebook.devstack.child_process import tail
from prebook.devstack.errors import Trouble
from prebook.devstack.servers import Say
from prebook.lab.experiments.exactly_once import consumer, producer
from prebook.lab.experiments.exactly_once.crash_matrix import EXPECTED, Cell, CrashPoint, Verdict, tally
from prebook.lab.experiments.exactly_once.crash_plan import CRASHED, Errand, Life
from prebook.lab.experiments.forked import Live, ended

PARTIES: Mapping[str, Live] = {producer.SERVICE: producer.live, consumer.SERVICE: consumer.live}
CRASHES: Mapping[CrashPoint, str] = {
    CrashPoint.BEFORE_COMMIT: producer.SERVICE,
    CrashPoint.BEFORE_PUBLISH: producer.SERVICE,
    CrashPoint.BEFORE_MARK: producer.SERVICE,
    CrashPoint.BEFORE_ACK: consumer.SERVICE,
}
"""Who crashes where."""
TABLES = (
    f"CREATE TABLE {producer.SERVICE}.performed (id text PRIMARY KEY, operation text NOT NULL)",
    f"CREATE TABLE {consumer.SERVICE}.effect (operation text NOT NULL)",
)
PERFORMED = f"SELECT count(*) FROM {producer.SERVICE}.performed WHERE operation = ANY($1::text[])"  # noqa: S608 - a schema
STAGED = f"SELECT count(*) FROM {producer.SERVICE}.outbox WHERE conversation = ANY($1::text[])"  # noqa: S608 - a schema
EFFECTS = f"""
    SELECT operation, count(*) AS effects FROM {consumer.SERVICE}.effect
    WHERE operation = ANY($1::text[]) GROUP BY operation"""  # noqa: S608 - a schema


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cell. ``lost`` and ``doubled`` count operations; ``staged`` and ``delivered`` messages.

    ``performed`` and ``effects`` count rows of state, the producer's and the consumer's.
    """

    crash_point: CrashPoint
    producer_dedup: bool
    inbox: bool
    operations: int
    crashed: str
    """Which process, by its service's name."""
    crashed_at: str
    """During which operation."""
    crash_status: int
    performed: int
    staged: int
    delivered: int
    effects: int
    lost: int
    doubled: int
    verdict: Verdict
    expected: Verdict
    why: str


@dataclass(frozen=True)
class Bench:
    """Where it happens: a broker and a database that hold nothing else. ``envs`` are the services' environments."""

    database_url: str
    envs: Mapping[str, Mapping[str, str]]
    folder: Path


async def findings(bench: Bench, cells: Sequence[Cell], *, operations: int, seed: int, say: Say) -> list[Finding]:
    """Raises Trouble where a crash did not happen, or a process ended otherwise than it was to."""
    async with counting(bench.database_url) as database:
        for table in TABLES:
            await database.execute(table)
        found = []
        for number, cell in enumerate(cells, 1):
            say(f"{number}/{len(cells)} {cell.name}")
            found.append(await _finding(bench, database, cell, operations, seed))
        return found


async def _finding(bench: Bench, database: asyncpg.Connection, cell: Cell, count: int, seed: int) -> Finding:
    operations = cell.operations(count)
    crash_at = random.Random(f"{seed} {cell.name}").choice(operations)
    await _both(bench, cell, operations, crash_at)
    effects = {row["operation"]: row["effects"] for row in await database.fetch(EFFECTS, operations)}
    delivered = _errand(bench, consumer.SERVICE, cell, operations).noted()
    counted, expected = tally(operations, effects), EXPECTED[cell]
    return Finding(
        crash_point=cell.point,
        producer_dedup=cell.dedup,
        inbox=cell.inbox,
        operations=count,
        crashed=CRASHES[cell.point],
        crashed_at=crash_at,
        crash_status=CRASHED,
        performed=await database.fetchval(PERFORMED, operations),
        staged=await database.fetchval(STAGED, operations),
        delivered=sum(operation in operations for operation in delivered),
        effects=sum(effects.values()),
        lost=counted.lost,
        doubled=counted.doubled,
        verdict=counted.verdict,
        expected=expected.verdict,
        why=expected.why,
    )


async def _both(bench: Bench, cell: Cell, operations: tuple[str, ...], crash_at: str) -> None:
    try:
        async with asyncio.TaskGroup() as both:
            for service in PARTIES:
                both.create_task(_party(bench, service, cell, operations, crash_at))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


async def _party(bench: Bench, service: str, cell: Cell, operations: tuple[str, ...], crash_at: str) -> None:
    """Once to its crash, if it is the one to crash, and once to its end."""
    if CRASHES[cell.point] == service:
        await _process(bench, service, _errand(bench, service, cell, operations, crash_at), ends_with=CRASHED)
    await _process(bench, service, _errand(bench, service, cell, operations), ends_with=0)


def _errand(bench: Bench, service: str, cell: Cell, operations: tuple[str, ...], crash_at: str | None = None) -> Errand:
    notes = bench.folder / f"{cell.name}-{service}.notes"
    return Errand(cell=cell, operations=operations, crash_at=crash_at, notes=str(notes))


async def _process(bench: Bench, service: str, errand: Errand, *, ends_with: int) -> None:
    log = bench.folder / f"{errand.cell.name}-{service}.log"
    status = await ended(PARTIES[service], Life(errand=errand, env=bench.envs[service], log=str(log)))
    if status != ends_with:
        raise _otherwise(errand, service, status, log)


def _otherwise(errand: Errand, service: str, status: int | None, log: Path) -> Trouble:
    came = "did not end in time" if status is None else f"ended with status {status}"
    meant = f"the crash at {errand.crash_at} was to end it with {CRASHED}" if errand.crash_at else "0 was expected"
    words = tail(log).strip() if log.exists() else ""
    return Trouble(
        f"{errand.cell.name}: the process of {service} {came}; {meant}. Its last words: {words or '(none)'}",
        "nothing can be concluded from this run: try again while the machine has less to do",
    )


@asynccontextmanager
async def counting(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=5)
    try:
        yield connection
    finally:
        await connection.close()
