"""Runner of all cells: one process crashes and is restarted, then the effects are counted."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import asyncpg
import msgspec

from prebook.asyncio_tools import first_error_task_group
from prebook.devstack.errors import UserError
from prebook.devstack.servers import Log
from prebook.lab.experiments.exactly_once import consumer, producer
from prebook.lab.experiments.exactly_once.crash_matrix import (
    EXPECTED_VERDICTS,
    CrashCell,
    CrashPoint,
    CrashVerdict,
    effect_tally,
)
from prebook.lab.experiments.exactly_once.crash_plan import CRASH_EXIT_STATUS, CrashPlan, CrashWorkerSpec
from prebook.lab.experiments.forked import log_tails, run_forked
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentContext, connect_as_admin

WORKERS: Mapping[str, Callable[[CrashWorkerSpec], object]] = {
    producer.SERVICE: producer.run,
    consumer.SERVICE: consumer.run,
}
CRASHING_SERVICE: Mapping[CrashPoint, str] = {
    CrashPoint.BEFORE_COMMIT: producer.SERVICE,
    CrashPoint.BEFORE_PUBLISH: producer.SERVICE,
    CrashPoint.BEFORE_MARK: producer.SERVICE,
    CrashPoint.BEFORE_ACK: consumer.SERVICE,
}
"""Crash point -> service whose process crashes."""
CREATE_TABLES = (
    f"CREATE TABLE {producer.SERVICE}.performed (id text PRIMARY KEY, operation text NOT NULL)",
    f"CREATE TABLE {consumer.SERVICE}.effect (operation text NOT NULL)",
)
COUNT_PERFORMED = f"SELECT count(*) FROM {producer.SERVICE}.performed WHERE operation = ANY($1::text[])"  # noqa: S608 - a schema
COUNT_ENQUEUED = f"SELECT count(*) FROM {producer.SERVICE}.outbox WHERE conversation_id = ANY($1::text[])"  # noqa: S608 - a schema
COUNT_EFFECTS = f"""
    SELECT operation, count(*) AS effects FROM {consumer.SERVICE}.effect
    WHERE operation = ANY($1::text[]) GROUP BY operation"""  # noqa: S608 - a schema


class CrashCellResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one cell.

    ``lost`` and ``duplicated`` count operations, ``enqueued`` and ``delivered`` messages, ``performed`` and ``effects``
    the rows that producer and consumer inserted.
    """

    crash_point: CrashPoint
    producer_dedup: bool
    inbox: bool
    operations: int
    crashed_service: str
    """Service whose process crashed."""
    crashed_operation: str
    """Operation during which the process crashed."""
    exit_status: int
    performed: int
    enqueued: int
    delivered: int
    effects: int
    lost: int
    duplicated: int
    verdict: CrashVerdict
    expected: CrashVerdict
    reason: str


async def run_cells(
    context: ExperimentContext, cells: Sequence[CrashCell], *, operations: int, seed: int, log: Log
) -> list[CrashCellResult]:
    """Run all cells one after another.

    Raises:
        UserError: a crash did not happen, or a process exited with an unexpected status.
    """
    async with connect_as_admin(context.database_url) as database:
        for table in CREATE_TABLES:
            await database.execute(table)
        results = []
        for number, cell in enumerate(cells, 1):
            log(f"{number}/{len(cells)} {cell.name}")
            results.append(await _run_cell(context, database, cell, operations, seed))
        return results


async def _run_cell(
    context: ExperimentContext, database: asyncpg.Connection, cell: CrashCell, count: int, seed: int
) -> CrashCellResult:
    operations = cell.operation_ids(count)
    crash_at = random.Random(f"{seed} {cell.name}").choice(operations)
    await _run_both_workers(context, cell, operations, crash_at)
    effects = {row["operation"]: row["effects"] for row in await database.fetch(COUNT_EFFECTS, operations)}
    delivered = _crash_plan(context, consumer.SERVICE, cell, operations).read_progress()
    tally = effect_tally(operations, effects)
    expected = EXPECTED_VERDICTS[cell]
    return CrashCellResult(
        crash_point=cell.crash_point,
        producer_dedup=cell.dedup,
        inbox=cell.inbox,
        operations=count,
        crashed_service=CRASHING_SERVICE[cell.crash_point],
        crashed_operation=crash_at,
        exit_status=CRASH_EXIT_STATUS,
        performed=await database.fetchval(COUNT_PERFORMED, operations),
        enqueued=await database.fetchval(COUNT_ENQUEUED, operations),
        delivered=sum(operation in operations for operation in delivered),
        effects=sum(effects.values()),
        lost=tally.lost,
        duplicated=tally.duplicated,
        verdict=tally.verdict,
        expected=expected.verdict,
        reason=expected.reason,
    )


async def _run_both_workers(
    context: ExperimentContext, cell: CrashCell, operations: tuple[str, ...], crash_at: str
) -> None:
    async with first_error_task_group() as tasks:
        for service in WORKERS:
            tasks.create_task(_run_worker(context, service, cell, operations, crash_at))


async def _run_worker(
    context: ExperimentContext, service: str, cell: CrashCell, operations: tuple[str, ...], crash_at: str
) -> None:
    """Run the worker to its crash, if it is the one that crashes, and then to its regular end."""
    if CRASHING_SERVICE[cell.crash_point] == service:
        await _run_process(
            context,
            service,
            _crash_plan(context, service, cell, operations, crash_at),
            expected_status=CRASH_EXIT_STATUS,
        )
    await _run_process(context, service, _crash_plan(context, service, cell, operations), expected_status=0)


def _crash_plan(
    context: ExperimentContext, service: str, cell: CrashCell, operations: tuple[str, ...], crash_at: str | None = None
) -> CrashPlan:
    progress = context.work_dir / f"{cell.name}-{service}.progress"
    return CrashPlan(cell=cell, operations=operations, crash_at=crash_at, progress_path=str(progress))


async def _run_process(
    context: ExperimentContext, service: str, crash_plan: CrashPlan, *, expected_status: int
) -> None:
    log = context.work_dir / f"{crash_plan.cell.name}-{service}.log"
    status = await run_forked(
        WORKERS[service],
        CrashWorkerSpec(crash_plan=crash_plan, env=context.envs[service], log_file=str(log)),
    )
    if status != expected_status:
        raise _unexpected_exit(crash_plan, service, status, log)


def _unexpected_exit(crash_plan: CrashPlan, service: str, status: int | None, log: Path) -> UserError:
    actual = "did not exit in time" if status is None else f"exited with status {status}"
    expected = f"{CRASH_EXIT_STATUS}, the status of its crash at {crash_plan.crash_at}," if crash_plan.crash_at else "0"
    problem = f"{crash_plan.cell.name}: the process of {service} {actual}; {expected} was expected"
    return UserError(f"{problem}. Its log ends: {log_tails([log])}", RETRY_HINT)
