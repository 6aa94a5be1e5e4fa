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
from prebook.devstack.command_line import examples, say
from prebook.devstack.parameters import FiniteRange
from prebook.lab.experiments.outbox_retention.experiment import MOST_DEARER, MOST_GROWTH, SERVICE, Look, Outcome, Run
from prebook.lab.experiments.testbed import described, grounded

MB = 1_000_000
FEWEST, USUAL = 2_000, 1_000_000
CPU = Path("/proc/cpuinfo")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``growth``: of table and indexes from the middle to the end. ``dearer``: a claim at the end over one at first."""

    rows: int
    purge_every_s: float
    stack: dict[str, str]
    machine: dict[str, str]
    seconds: float
    growth: float
    dearer: float
    holds: bool
    outcome: Outcome
    schema: str = "prebook.outbox_retention/1"


@click.command(
    "outbox-retention",
    epilog=examples(
        "prebook lab outbox-retention",
        "prebook lab outbox-retention --rows 20000 --window 1 --purge-every 0.5",
        "prebook lab outbox-retention --markdown > outbox-retention.md",
    ),
)
@click.option("--rows", type=click.IntRange(FEWEST, 100_000_000), default=USUAL, show_default=True)
@click.option("--window", "window_s", type=FiniteRange(0.1), default=20.0, show_default=True, help="Seconds.")
@click.option("--purge-every", "purge_every_s", type=FiniteRange(0.1), default=5.0, show_default=True)
@click.option("--markdown", is_flag=True, help="A table to keep.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
def outbox_retention(*, rows: int, window_s: float, purge_every_s: float, markdown: bool, as_json: bool) -> None:
    """Stage, claim, mark and purge so many rows as fast as one process can; print what becomes of the table.

    Exit status 1 where table and indexes have grown by more than a quarter from the middle to the end, or a claim
    touches more than a tenth more pages at the end than at first.
    """
    report = command_line.run(_measured(rows, window_s, purge_every_s))
    if as_json:
        click.echo(msgspec.json.encode(report))
    elif markdown:
        click.echo("\n".join(_markdown(report)))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.holds else 1)


async def _measured(rows: int, window_s: float, purge_every_s: float) -> Report:
    began = time.monotonic()
    async with grounded() as ground:
        url = ground.bench.envs[SERVICE]["PREBOOK_DATABASE_URL"]
        looking = await asyncpg.connect(url.replace("+asyncpg", "", 1), server_settings={"search_path": SERVICE})
        try:
            run = Run(url, window_s=window_s, purge_every_s=purge_every_s)
            outcome = await run.looks(rows, looking, lambda look: say(_line(look)))
        finally:
            await looking.close()
        return Report(
            rows=rows,
            purge_every_s=purge_every_s,
            stack=described(ground.parts),
            machine=_machine(),
            seconds=round(time.monotonic() - began, 1),
            growth=round(outcome.growth, 3),
            dearer=round(outcome.dearer, 3),
            holds=outcome.holds,
            outcome=outcome,
        )


def _machine() -> dict[str, str]:
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    load = f"{os.getloadavg()[2]:.1f}"
    return {"cores": str(os.cpu_count()), "model": next(iter(models), "unknown"), "load over 15 minutes": load}


def _cpuinfo() -> list[str]:
    return CPU.read_text().splitlines() if CPU.exists() else []


NAMES = (
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


def _cells(look: Look) -> tuple[str, ...]:
    size, claim = look.size, look.claim
    held = (f"{size.rows:,}", f"{size.table_bytes / MB:.1f}", f"{size.index_bytes / MB:.1f}", f"{size.dead_rows:,}")
    return (f"{look.rows:,}", f"{look.rate_per_s:,.0f}", *held, str(size.vacuums), f"{claim.pages:g}", f"{claim.ms:g}")


def _line(look: Look) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in zip(NAMES, _cells(look), strict=True))


def _caption(report: Report) -> str:
    grown = f"from the middle to the end, table and indexes grew to {report.growth:g} times (at most {MOST_GROWTH:g})"
    dearer = f"a claim at the end touches {report.dearer:g} times the pages of the first (at most {MOST_DEARER:g})"
    return f"{grown}; {dearer}"


def _table(report: Report) -> Table:
    title = f"An outbox over {report.rows:,} rows, sent ones kept for {report.outcome.window_s:g} s"
    table = Table(title=title, caption=_caption(report))
    for name in NAMES:
        table.add_column(name, justify="right")
    for look in report.outcome.looks:
        table.add_row(*_cells(look))
    return table


def _markdown(report: Report) -> list[str]:
    machine = "; ".join(f"{name}: {value}" for name, value in (report.machine | report.stack).items())
    rows = [NAMES, ("---:",) * len(NAMES), *(_cells(look) for look in report.outcome.looks)]
    options = f"--rows {report.rows} --window {report.outcome.window_s:g} --purge-every {report.purge_every_s:g}"
    return [
        f"`prebook lab outbox-retention {options}`: {report.seconds:g} s. {machine}.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
        f"{report.outcome.purged:,} rows were purged meanwhile; {_caption(report)}: {_verdict(report)}.",
    ]


def _verdict(report: Report) -> str:
    return "it holds" if report.holds else "IT DOES NOT HOLD"
