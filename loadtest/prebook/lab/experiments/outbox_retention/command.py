"""`prebook lab outbox-retention`: an outbox in use for a long time, measured as it goes."""

import os
import sys
import time
from pathlib import Path

import asyncpg
import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange, json_option
from prebook.lab.experiments.outbox_retention.experiment import (
    MAX_CLAIM_COST_RATIO,
    MAX_GROWTH,
    SERVICE,
    RetentionResult,
    RetentionRun,
    TableSample,
)
from prebook.lab.experiments.testbed import stack_versions, start_testbed

MB = 1_000_000
MIN_ROWS = 2_000
DEFAULT_ROWS = 1_000_000
CPUINFO_PATH = Path("/proc/cpuinfo")


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """``growth``: of table and indexes, from the middle to the end. ``claim_cost_ratio``: last claim over first."""

    rows: int
    purge_interval_s: float
    stack: dict[str, str]
    machine: dict[str, str]
    seconds: float
    growth: float
    claim_cost_ratio: float
    within_limits: bool
    result: RetentionResult
    schema: str = "prebook.outbox_retention/1"


@click.command(
    "outbox-retention",
    epilog=examples(
        "prebook lab outbox-retention",
        "prebook lab outbox-retention --rows 20000 --retention 1 --purge-interval 0.5",
        "prebook lab outbox-retention --markdown > outbox-retention.md",
    ),
)
@click.option("--rows", type=click.IntRange(MIN_ROWS, 100_000_000), default=DEFAULT_ROWS, show_default=True)
@click.option(
    "--retention",
    "retention_s",
    type=FiniteRange(0.1),
    default=20.0,
    show_default=True,
    help="Seconds that sent rows are kept.",
)
@click.option(
    "--purge-interval",
    "purge_interval_s",
    type=FiniteRange(0.1),
    default=5.0,
    show_default=True,
    help="Seconds between purges.",
)
@click.option("--markdown", is_flag=True, help="A table to keep.")
@json_option()
def outbox_retention(*, rows: int, retention_s: float, purge_interval_s: float, markdown: bool, as_json: bool) -> None:
    """Enqueue, claim, mark and purge so many rows as fast as one process can; print what becomes of the table.

    Exit status 1 where table and indexes have grown by more than a quarter from the middle to the end, or a claim
    touches more than a tenth more pages at the end than at first.
    """
    report = command_line.run_interruptible(_run_experiment(rows, retention_s, purge_interval_s))
    if as_json:
        click.echo(msgspec.json.encode(report))
    elif markdown:
        click.echo("\n".join(_markdown(report)))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.within_limits else 1)


async def _run_experiment(rows: int, retention_s: float, purge_interval_s: float) -> RetentionReport:
    began = time.monotonic()
    async with start_testbed() as testbed:
        url = testbed.context.envs[SERVICE]["PREBOOK_DATABASE_URL"]
        connection = await asyncpg.connect(url.replace("+asyncpg", "", 1), server_settings={"search_path": SERVICE})
        try:
            run = RetentionRun(url, retention_s=retention_s, purge_interval_s=purge_interval_s)
            result = await run.run(rows, connection, lambda sample: log_to_stderr(_sample_text(sample)))
        finally:
            await connection.close()
        return RetentionReport(
            rows=rows,
            purge_interval_s=purge_interval_s,
            stack=stack_versions(testbed.stack),
            machine=_read_host_info(),
            seconds=round(time.monotonic() - began, 1),
            growth=round(result.growth, 3),
            claim_cost_ratio=round(result.claim_cost_ratio, 3),
            within_limits=result.within_limits,
            result=result,
        )


def _read_host_info() -> dict[str, str]:
    models = [line.partition(":")[2].strip() for line in _read_cpuinfo() if line.startswith("model name")]
    load = f"{os.getloadavg()[2]:.1f}"
    return {"cores": str(os.cpu_count()), "model": next(iter(models), "unknown"), "load over 15 minutes": load}


def _read_cpuinfo() -> list[str]:
    return CPUINFO_PATH.read_text().splitlines() if CPUINFO_PATH.exists() else []


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


def _cells(look: TableSample) -> tuple[str, ...]:
    size = look.size
    claim = look.claim_cost
    held = (f"{size.rows:,}", f"{size.table_bytes / MB:.1f}", f"{size.index_bytes / MB:.1f}", f"{size.dead_rows:,}")
    return (f"{look.rows:,}", f"{look.rate_per_s:,.0f}", *held, str(size.vacuums), f"{claim.pages:g}", f"{claim.ms:g}")


def _sample_text(look: TableSample) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, _cells(look), strict=True))


def _caption(report: RetentionReport) -> str:
    grown = f"from the middle to the end, table and indexes grew to {report.growth:g} times (at most {MAX_GROWTH:g})"
    ratio = f"{report.claim_cost_ratio:g} times the pages of the first (at most {MAX_CLAIM_COST_RATIO:g})"
    return f"{grown}; a claim at the end touches {ratio}"


def _table(report: RetentionReport) -> Table:
    title = f"An outbox over {report.rows:,} rows, sent ones kept for {report.result.retention_s:g} s"
    table = Table(title=title, caption=_caption(report))
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for look in report.result.samples:
        table.add_row(*_cells(look))
    return table


def _markdown(report: RetentionReport) -> list[str]:
    machine = "; ".join(f"{name}: {value}" for name, value in (report.machine | report.stack).items())
    rows = [COLUMNS, ("---:",) * len(COLUMNS), *(_cells(look) for look in report.result.samples)]
    options = (
        f"--rows {report.rows} --retention {report.result.retention_s:g} --purge-interval {report.purge_interval_s:g}"
    )
    return [
        f"`prebook lab outbox-retention {options}`: {report.seconds:g} s. {machine}.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
        f"{report.result.purged:,} rows were purged meanwhile; {_caption(report)}: {_verdict_text(report)}.",
    ]


def _verdict_text(report: RetentionReport) -> str:
    return "it holds" if report.within_limits else "IT DOES NOT HOLD"
