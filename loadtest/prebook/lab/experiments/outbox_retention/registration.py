"""Registration of the experiment: size and claim cost of an outbox over many rows, with and without purging."""

from collections.abc import Iterable

import asyncpg
import msgspec
import rich_click as click

from prebook.devstack.parameters import FiniteRange
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.outbox_retention.experiment import (
    MAX_CLAIM_COST_RATIO,
    MAX_GROWTH,
    SERVICE,
    RetentionResult,
    RetentionRun,
    TableSample,
)
from prebook.postgres.dsn import asyncpg_dsn

MB = 1_000_000
BOUNDED = f"growth of table and indexes with a full window, vacuumed once <= {MAX_GROWTH:g}"
CHEAP = f"pages of the last claim / pages of the first <= {MAX_CLAIM_COST_RATIO:g}"
COMPLETE = "rows purged + rows kept = rows sent"
FEW = "rows kept <= half of the rows sent"
PURGED = "purged after the retention period"
KEPT = "never purged"
NEVER_S = 1e6
"""Seconds: a retention period and an interval that no run reaches."""


class RetentionSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: rows to send, and retention period and purge interval in seconds."""

    rows: int = 100_000
    retention: float = 2.0
    purge_interval: float = 0.5


class RetentionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details of the result, as --json prints them."""

    purged: RetentionResult
    kept: RetentionResult


async def measure(run: ExperimentRun, size: RetentionSize) -> Measurement:
    """Send all rows with purging; then, on an empty outbox, without."""
    kept_size = msgspec.structs.replace(size, retention=NEVER_S, purge_interval=NEVER_S)
    purged = await _send_rows(run, PURGED, size)
    await run.testbed.empty_tables()
    kept = await _send_rows(run, KEPT, kept_size)
    return Measurement(
        checks=[
            *retention_checks(purged),
            kept_check(KEPT, kept, LawVerdict.VIOLATED),
            growth_check(KEPT, kept, LawVerdict.VIOLATED),
        ],
        tables=[_table(PURGED, purged), _table(KEPT, kept)],
        details=RetentionDetails(purged=purged, kept=kept),
    )


def retention_checks(purged: RetentionResult) -> Iterable[LawCheck]:
    """Yield the checks of the outbox whose sent rows are purged."""
    last = purged.samples[-1]
    cost = ("claim cost ratio", round(purged.claim_cost_ratio, 3))
    yield kept_check(PURGED, purged, LawVerdict.HELD)
    yield growth_check(PURGED, purged, LawVerdict.HELD)
    yield check_law(CHEAP, PURGED, cost, Relation.AT_MOST, ("", MAX_CLAIM_COST_RATIO), doubt=vacuum_doubt(purged))
    accounted = ("purged + kept", purged.purged + last.size.rows)
    yield check_law(COMPLETE, PURGED, accounted, Relation.EQUAL, ("sent", last.rows))


def growth_check(arrangement: str, result: RetentionResult, expected: LawVerdict) -> LawCheck:
    """Return the check of the growth of table and indexes."""
    growth = ("growth", round(result.growth, 3))
    doubt = vacuum_doubt(result) if expected is LawVerdict.HELD else ""
    return check_law(BOUNDED, arrangement, growth, Relation.AT_MOST, ("", MAX_GROWTH), expected=expected, doubt=doubt)


def kept_check(arrangement: str, result: RetentionResult, expected: LawVerdict) -> LawCheck:
    """Return the check of the rows that are left at the end."""
    last = result.samples[-1]
    return check_law(
        FEW, arrangement, ("kept", last.size.rows), Relation.AT_MOST, ("sent / 2", last.rows / 2), expected=expected
    )


def vacuum_doubt(result: RetentionResult) -> str:
    """Return why sizes cannot be judged, or an empty text: the table must be used again after its first vacuum."""
    if result.full_at is not None and result.full_at < len(result.samples) - 1:
        return ""
    return "the run was too short: the database has not vacuumed the table before the last sample"


async def _send_rows(run: ExperimentRun, arrangement: str, size: RetentionSize) -> RetentionResult:
    url = run.testbed.context.envs[SERVICE]["PREBOOK_DATABASE_URL"]
    connection = await asyncpg.connect(asyncpg_dsn(url), server_settings={"search_path": SERVICE})
    try:
        sending = RetentionRun(url, retention_s=size.retention, purge_interval_s=size.purge_interval)
        return await sending.run(
            size.rows, connection, lambda sample: run.log(f"{arrangement}: {_sample_text(sample)}")
        )
    finally:
        await connection.close()


COLUMNS = (
    "rows sent",
    "rows/s",
    "rows kept",
    "table MB",
    "indexes MB",
    "dead rows",
    "vacuums",
    "claim: pages",
    "claim: ms",
)


def _cells(sample: TableSample) -> tuple[str, ...]:
    size = sample.size
    claim = sample.claim_cost
    size_cells = (
        f"{size.rows:,}",
        f"{size.table_bytes / MB:.1f}",
        f"{size.index_bytes / MB:.1f}",
        f"{size.dead_rows:,}",
    )
    return (
        f"{sample.rows:,}",
        f"{sample.rate_per_s:,.0f}",
        *size_cells,
        str(size.vacuums),
        f"{claim.pages:g}",
        f"{claim.ms:g}",
    )


def _sample_text(sample: TableSample) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, _cells(sample), strict=True))


def _table(arrangement: str, result: RetentionResult) -> ResultTable:
    return ResultTable(
        title=f"Outbox whose sent rows are {arrangement}",
        columns=COLUMNS,
        rows=tuple(_cells(sample) for sample in result.samples),
        caption=f"{result.purged:,} rows were purged; table and indexes grew by a factor of {result.growth:.3g} "
        f"with a full window; the last claim touches {result.claim_cost_ratio:.3g} times the pages of the first",
    )


OUTBOX_RETENTION = Experiment(
    name="outbox-retention",
    section=Section.DELIVERY,
    claims=("F7",),
    pattern="Transactional outbox",
    claim="Purging sent rows bounds an outbox: neither its size nor the cost of a claim grows with the rows ever sent.",
    varies="whether sent rows are purged",
    law=f"{COMPLETE}; {FEW}; {BOUNDED}; {CHEAP}",
    wrong_way="sent rows are never purged: table and indexes grow with every row",
    expected="With purging, table and indexes stop growing once the retention window is full; without, they do not.",
    full=RetentionSize(),
    quick=RetentionSize(rows=20_000, retention=0.2, purge_interval=0.1),
    options=(
        SizeOption("rows", click.IntRange(2_000, 100_000_000), "Number of outbox rows to enqueue and send, each way."),
        SizeOption("retention", FiniteRange(0.1), "Retention period of sent rows, in seconds."),
        SizeOption("purge_interval", FiniteRange(0.1), "Interval between purges, in seconds."),
    ),
    measure=measure,
)
