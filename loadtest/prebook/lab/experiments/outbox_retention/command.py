"""`prebook lab outbox-retention`: size and claim cost of an outbox over many rows."""

import sys
import time

import asyncpg
import msgspec
import rich_click as click
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange, json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.experiments.host import HostInfo, read_host_info
from prebook.lab.experiments.outbox_retention.experiment import (
    MAX_CLAIM_COST_RATIO,
    MAX_GROWTH,
    SERVICE,
    RetentionResult,
    RetentionRun,
    TableSample,
)
from prebook.lab.experiments.testbed import stack_versions, start_testbed
from prebook.postgres.dsn import asyncpg_dsn

MB = 1_000_000
MIN_ROWS = 2_000
DEFAULT_ROWS = 1_000_000


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the experiment, as --json prints it; RetentionResult defines ``growth`` and ``claim_cost_ratio``."""

    rows: int
    purge_interval_s: float
    stack: dict[str, str]
    machine: HostInfo
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
@click.option(
    "--rows",
    type=click.IntRange(MIN_ROWS, 100_000_000),
    default=DEFAULT_ROWS,
    show_default=True,
    help="Number of outbox rows to enqueue and send.",
)
@click.option(
    "--retention",
    "retention_s",
    type=FiniteRange(0.1),
    default=20.0,
    show_default=True,
    help="Retention period of sent rows, in seconds.",
)
@click.option(
    "--purge-interval",
    "purge_interval_s",
    type=FiniteRange(0.1),
    default=5.0,
    show_default=True,
    help="Interval between purges, in seconds.",
)
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@json_option()
def outbox_retention(*, rows: int, retention_s: float, purge_interval_s: float, markdown: bool, as_json: bool) -> None:
    """Enqueue, claim, mark and purge outbox rows as fast as one process can; print size and claim cost over time.

    Exit status 1 if table and indexes grew by more than a quarter from the middle to the end, or if a claim touches
    over a tenth more pages at the end than at the start.
    """
    report = command_line.run_interruptible(_run_experiment(rows, retention_s, purge_interval_s))
    if as_json:
        echo(msgspec.json.encode(report))
    elif markdown:
        echo("\n".join(_markdown(report)))
    else:
        PlainConsole().print(_table(report))
    sys.exit(0 if report.within_limits else 1)


async def _run_experiment(rows: int, retention_s: float, purge_interval_s: float) -> RetentionReport:
    started_at = time.monotonic()
    async with start_testbed() as testbed:
        url = testbed.context.envs[SERVICE]["PREBOOK_DATABASE_URL"]
        connection = await asyncpg.connect(asyncpg_dsn(url), server_settings={"search_path": SERVICE})
        try:
            run = RetentionRun(url, retention_s=retention_s, purge_interval_s=purge_interval_s)
            result = await run.run(rows, connection, lambda sample: log_to_stderr(_sample_text(sample)))
        finally:
            await connection.close()
        return RetentionReport(
            rows=rows,
            purge_interval_s=purge_interval_s,
            stack=stack_versions(testbed.stack),
            machine=read_host_info(),
            seconds=round(time.monotonic() - started_at, 1),
            growth=round(result.growth, 3),
            claim_cost_ratio=round(result.claim_cost_ratio, 3),
            within_limits=result.within_limits,
            result=result,
        )


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


def _caption(report: RetentionReport) -> str:
    growth = (
        f"from the middle to the end, table and indexes grew by a factor of {report.growth:g} (limit {MAX_GROWTH:g})"
    )
    ratio = f"{report.claim_cost_ratio:g} times the pages of the first claim (limit {MAX_CLAIM_COST_RATIO:g})"
    return f"{growth}; the last claim touches {ratio}"


def _table(report: RetentionReport) -> Table:
    title = f"Outbox over {report.rows:,} rows, retention of sent rows {report.result.retention_s:g} s"
    table = Table(title=title, caption=_caption(report))
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for sample in report.result.samples:
        table.add_row(*_cells(sample))
    return table


def _markdown(report: RetentionReport) -> list[str]:
    machine = report.machine
    facts = {
        "cores": machine.cores,
        "model": machine.cpu_model,
        "load over 15 minutes": f"{machine.load_average_15min:.1f}",
        **report.stack,
    }
    facts_text = "; ".join(f"{name}: {value}" for name, value in facts.items())
    rows = [COLUMNS, ("---:",) * len(COLUMNS), *(_cells(sample) for sample in report.result.samples)]
    options = (
        f"--rows {report.rows} --retention {report.result.retention_s:g} --purge-interval {report.purge_interval_s:g}"
    )
    return [
        f"`prebook lab outbox-retention {options}`: {report.seconds:g} s. {facts_text}.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
        f"{report.result.purged:,} rows were purged; {_caption(report)}: {_verdict_text(report)}.",
    ]


def _verdict_text(report: RetentionReport) -> str:
    return "within the limits" if report.within_limits else "LIMITS EXCEEDED"
