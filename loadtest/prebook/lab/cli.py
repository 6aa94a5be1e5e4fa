"""The command line of the load test."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
import uvloop
from rich.console import Console

from prebook.devstack.parameters import POSITIVE, WRITABLE_FOLDER
from prebook.lab.burst.command import burst
from prebook.lab.campaign import terminal
from prebook.lab.campaign.arrival_options import scenario_from_options, with_arrival_options
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenario_report import MAX_LAG_MS
from prebook.lab.campaign.scenarios import (
    DEFAULT_DURATION_S,
    DEFAULT_RATE_PER_S,
    QUICK_DURATION_S,
    SCENARIOS,
    SETTLE_TIMEOUT_S,
    select_scenarios,
)
from prebook.lab.chaos.command import chaos
from prebook.lab.compare.command import compare
from prebook.lab.exit_status import exit_status_of
from prebook.lab.faults import fault_access
from prebook.lab.faults.cli import fault
from prebook.lab.load.cli import self_test
from prebook.lab.load.generator import open_session
from prebook.lab.report import writer
from prebook.lab.report.model import CampaignReport
from prebook.lab.suite_client.settings import LabSettings, read_settings

CONSOLE_WIDTH = 150


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Loads a running prebook suite over the wire, breaks it on purpose, and settles the accounts."""


main.add_command(fault)
main.add_command(burst)
main.add_command(compare)
main.add_command(self_test)
main.add_command(chaos)


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


@main.command
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
    "--settle",
    type=POSITIVE,
    default=SETTLE_TIMEOUT_S,
    show_default=True,
    help="Seconds a scenario may take to come to rest; what is still open then is in flight.",
)
@click.option(
    "--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only this one; repeatable."
)
@with_arrival_options
@click.option(
    "--most-lag",
    type=POSITIVE,
    default=MAX_LAG_MS,
    show_default=True,
    help="Milliseconds (p99) that requests may leave late.",
)
@click.option(
    "--report",
    "to",
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
    """Offers the same rides to five plans at once, plays the scenarios, and writes report.json and report.html.

    Exit status 1 if a ride was lost, an effect doubled, a ledger left open, a fault without effect, or the generator
    itself so late that the result is none.

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
    lasts_s = duration or (own and own.trace_duration_s) or (QUICK_DURATION_S if quick else DEFAULT_DURATION_S)
    terms = CampaignOptions(scenarios, seed, rate, lasts_s, settle_timeout, max_lag)
    sys.exit(run_command(terms, CampaignOutput(report_dir, as_json)))


def run_command(options: CampaignOptions, output: CampaignOutput) -> int:
    def run() -> int:
        settings = read_settings(os.environ)
        writer.prepare_folder(output.folder)
        return uvloop.run(run_campaign(settings, options, output))

    return exit_status_of(run, "no report was written")


async def run_campaign(settings: LabSettings, options: CampaignOptions, output: CampaignOutput) -> int:
    progress, console = CampaignProgress(), output.console
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
