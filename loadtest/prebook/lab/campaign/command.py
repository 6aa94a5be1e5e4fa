"""``python -m prebook.lab campaign``: its options, and the report that it leaves."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import rich_click as click
import uvloop
from rich.console import Console

from prebook.devstack.parameters import POSITIVE, WRITABLE_FOLDER
from prebook.lab.campaign import terminal
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenarios import (
    DEFAULT_DURATION_S,
    DEFAULT_RATE_PER_S,
    QUICK_DURATION_S,
    SCENARIOS,
    SETTLE_TIMEOUT_S,
    Scenario,
    custom_scenario,
    select_scenarios,
)
from prebook.lab.exit_status import exit_status_of
from prebook.lab.faults import fault_access
from prebook.lab.load import traces
from prebook.lab.load.arrivals import DEFAULT_SHAPE, ArrivalProcess, ArrivalShape
from prebook.lab.load.generator import MAX_LAG_MS, open_session
from prebook.lab.load.traces import TraceUnreadable
from prebook.lab.report import writer
from prebook.lab.report.model import CampaignReport
from prebook.lab.suite_client.settings import LabSettings, read_settings

CONSOLE_WIDTH = 150
F = TypeVar("F", bound=Callable[..., Any])
PROCESS_NAMES = [process.value for process in ArrivalProcess if process is not ArrivalProcess.BURST]
ARRIVAL_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--arrivals", type=click.Choice(PROCESS_NAMES), help="Arrivals of your choice instead of scenarios."),
    click.option(
        "--factor",
        type=POSITIVE,
        help=f"Of the rate: a step's, spike's or wave's top. [default: {DEFAULT_SHAPE.factor:g}]",
    ),
    click.option(
        "--period", type=POSITIVE, help=f"Seconds of one turn of a square wave. [default: {DEFAULT_SHAPE.period_s:g}]"
    ),
    click.option(
        "--trace",
        type=click.Path(path_type=Path, dir_okay=False),
        help="What to replay: seconds, one a line, or a samples.jsonl.",
    ),
)


def with_arrival_options(command: F) -> F:
    """Add ARRIVAL_OPTIONS to a command, which hands their values to ``scenario_from_options``."""
    return reduce(lambda made, option: option(made), reversed(ARRIVAL_OPTIONS), command)


def scenario_from_options(
    names: Sequence[str], *, arrivals: str | None, factor: float | None, period: float | None, trace: Path | None
) -> Scenario | None:
    """Return None where no arrivals were chosen. ``names`` are the chosen scenarios.

    Raises:
        click.UsageError: The options do not fit together, or the trace cannot be read.
    """
    replayed = arrivals == ArrivalProcess.REPLAY
    if replayed is not (trace is not None):
        raise click.UsageError("--arrivals replay and --trace FILE go together")
    if arrivals is None:
        if factor or period:
            raise click.UsageError("--factor and --period are of arrivals of your own: choose them with --arrivals")
        return None
    if names:
        raise click.UsageError(
            f"a scenario has arrivals of its own: leave out --scenario {' and '.join(names)} or --arrivals {arrivals}"
        )
    try:
        recorded = traces.read_trace(trace) if trace else ()
    except TraceUnreadable as wrong:
        raise click.UsageError(str(wrong)) from wrong
    return custom_scenario(
        ArrivalProcess(arrivals),
        ArrivalShape(factor or DEFAULT_SHAPE.factor, period or DEFAULT_SHAPE.period_s, recorded),
    )


@dataclass(frozen=True)
class CampaignOutput:
    folder: Path
    as_json: bool

    @property
    def console(self) -> Console:
        """Progress and tables go to stderr where stdout carries the JSON."""
        stream = sys.stderr if self.as_json else sys.stdout
        wide = None if stream.isatty() else CONSOLE_WIDTH
        return Console(stderr=self.as_json, width=wide)


@click.command
@click.option("--quick", is_flag=True, help=f"A few scenarios, {QUICK_DURATION_S:.0f} s each: all within a minute.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same rides at the same times.")
@click.option(
    "--rate",
    type=POSITIVE,
    default=DEFAULT_RATE_PER_S,
    show_default=True,
    help="Rides offered a second, all plans together.",
)
@click.option(
    "--duration", type=POSITIVE, help=f"Seconds of arrivals of a usual scenario. [default: {DEFAULT_DURATION_S:.0f}]"
)
@click.option(
    "--settle-timeout",
    type=POSITIVE,
    default=SETTLE_TIMEOUT_S,
    show_default=True,
    help="Seconds a scenario may take to come to rest; what is still open then is in flight.",
)
@click.option(
    "--scenario", "scenario_names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only this one; repeatable."
)
@with_arrival_options
@click.option(
    "--max-lag",
    type=POSITIVE,
    default=MAX_LAG_MS,
    show_default=True,
    help="Milliseconds (p99) that requests may leave late.",
)
@click.option(
    "--report",
    "report_dir",
    type=WRITABLE_FOLDER,
    default=Path("reports/latest"),
    show_default=True,
    help="Folder for report.json, report.html and samples.jsonl.",
)
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; progress on stderr.")
def campaign(
    *,
    quick: bool,
    seed: int,
    rate: float,
    duration: float | None,
    settle_timeout: float,
    scenario_names: tuple[str, ...],
    max_lag: float,
    report_dir: Path,
    as_json: bool,
    **chosen_arrivals: Any,
) -> None:
    """Offer the same rides to five plans at once, scenario by scenario, and write report.json and report.html.

    Exit status 1 if a ride was lost, an effect duplicated, a ledger left open, a fault without effect, or the generator
    itself so late that the result is invalid.

    \b
    Examples:
      prebook load --quick --seed 7
      prebook load --scenario calm --rate 10 --report reports/calm
      prebook load --arrivals square --rate 5 --factor 6 --period 8 --duration 40
      prebook load --arrivals replay --trace reports/calm/samples.jsonl
      prebook load --quick --json > report.json
    """
    own = scenario_from_options(scenario_names, **chosen_arrivals)
    scenarios = (own,) if own else select_scenarios(scenario_names, quick=quick)
    duration_s = duration or (own and own.trace_duration_s) or (QUICK_DURATION_S if quick else DEFAULT_DURATION_S)
    options = CampaignOptions(scenarios, seed, rate, duration_s, settle_timeout, max_lag)
    sys.exit(run_command(options, CampaignOutput(report_dir, as_json)))


def run_command(options: CampaignOptions, output: CampaignOutput) -> int:
    def run() -> int:
        settings = read_settings(os.environ)
        writer.prepare_folder(output.folder)
        return uvloop.run(run_campaign(settings, options, output))

    return exit_status_of(run, "no report was written")


async def run_campaign(settings: LabSettings, options: CampaignOptions, output: CampaignOutput) -> int:
    progress = CampaignProgress()
    console = output.console
    async with open_session() as session, terminal.show_progress(progress, console):
        running = Campaign(settings, fault_access.read_fault_access(session, os.environ), options, session, progress)
        report = await running.run()
    page = writer.write_report(output.folder, report, running.samples)
    print_results(report, page, console, output)
    return 0 if report.verdict and report.verdict.ok else 1


def print_results(report: CampaignReport, page: Path, console: Console, output: CampaignOutput) -> None:
    console.print(terminal.results(report))
    console.print(f"{report.duration_s:.0f} s. Report: {page}", soft_wrap=True, highlight=False)
    if output.as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
