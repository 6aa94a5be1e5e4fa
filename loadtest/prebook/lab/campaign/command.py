"""`prebook demo` and `prebook load campaign`: options of the campaign, its run, and its report."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
import uvloop

from prebook.control_room.local_suite import open_local_control_room
from prebook.devstack import temporary_suite
from prebook.devstack.command_line import examples, run_interruptible
from prebook.devstack.lab_process import find_lab_environment
from prebook.devstack.parameters import (
    POSITIVE,
    arguments_of,
    combine,
    json_option,
    rate_option,
    report_option,
    seed_option,
)
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.temporary_suite import LabRun, allocate_suite_ports
from prebook.devstack.terminal import PlainConsole
from prebook.lab.campaign import terminal
from prebook.lab.campaign.campaign_report import campaign_report
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.report_files import CONSOLE_WIDTH, PAGE_FILE, report_files
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
from prebook.lab.load.command import max_lag_option
from prebook.lab.load.generator import open_session
from prebook.lab.load.traces import TraceUnreadable
from prebook.lab.report import writer
from prebook.lab.report.model import CampaignReport, CampaignVerdict
from prebook.lab.suite_client.settings import LabSettings, read_settings

EXIT_NOT_JUDGED = 3
"""Exit status of a campaign without a failure whose figures cannot be judged, because the machine was too busy."""
PROCESS_NAMES = [process.value for process in ArrivalProcess if process is not ArrivalProcess.BURST]
DEMO_EXAMPLES = examples(
    "prebook demo --quick",
    "prebook demo --seed 42 --report reports/42",
    "prebook demo --quick --json > report.json",
)
CAMPAIGN_EXAMPLES = examples(
    "prebook load --quick --seed 7",
    "prebook load --scenario calm --rate 10 --report reports/calm",
    "prebook load --arrivals square --rate 5 --factor 6 --period 8 --duration 40",
    "prebook load --arrivals replay --trace reports/calm/samples.jsonl",
    "prebook load --quick --json > report.json",
)
CAMPAIGN_OPTIONS = (
    click.option(
        "--quick",
        is_flag=True,
        help=f"Run a few scenarios, with a --duration of {QUICK_DURATION_S:.0f} s, in about a minute.",
    ),
    seed_option("Seed of rides and arrival times; equal seeds offer equal rides at equal times."),
    rate_option("Ride requests per second, the sum over all plans.", default=DEFAULT_RATE_PER_S),
    click.option(
        "--duration",
        type=POSITIVE,
        help=f"Duration of arrivals in a standard scenario, in seconds. [default: {DEFAULT_DURATION_S:.0f}]",
    ),
    click.option(
        "--settle-timeout",
        type=POSITIVE,
        default=SETTLE_TIMEOUT_S,
        show_default=True,
        help="Seconds to wait for open rides after a scenario; rides that are open then count as in flight.",
    ),
    click.option(
        "--scenario",
        "scenario_names",
        multiple=True,
        type=click.Choice(list(SCENARIOS)),
        help="Run only this scenario; repeatable.",
    ),
    click.option(
        "--arrivals", type=click.Choice(PROCESS_NAMES), help="Run one custom scenario with this arrival process."
    ),
    click.option(
        "--factor",
        type=POSITIVE,
        help=f"Peak rate of a step, spike or square wave, as a multiple of --rate. [default: {DEFAULT_SHAPE.factor:g}]",
    ),
    click.option(
        "--period",
        type=POSITIVE,
        help=f"Period of a square wave, in seconds. [default: {DEFAULT_SHAPE.period_s:g}]",
    ),
    click.option(
        "--trace",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File of arrivals to replay: one number of seconds per line, or a samples.jsonl.",
    ),
    max_lag_option,
    report_option("reports/latest", "Folder for the report as JSON, HTML and text, its samples, and the raw results."),
    json_option("Print the report as JSON to stdout, and progress to stderr."),
)
campaign_options = combine(*CAMPAIGN_OPTIONS)


def scenario_from_options(
    names: Sequence[str], *, arrivals: str | None, factor: float | None, period: float | None, trace: Path | None
) -> Scenario | None:
    """Return the custom scenario that the options describe, or None if ``arrivals`` is None.

    ``names`` are the values of --scenario.

    Raises:
        click.UsageError: the options exclude each other, or the trace cannot be read.
    """
    is_replay = arrivals == ArrivalProcess.REPLAY
    if is_replay is not (trace is not None):
        raise click.UsageError("--arrivals replay and --trace FILE require each other")
    if arrivals is None:
        if factor or period:
            raise click.UsageError("--factor and --period shape custom arrivals; choose them with --arrivals")
        return None
    if names:
        raise click.UsageError(
            f"a scenario defines its own arrivals; leave out --scenario {' and '.join(names)} or --arrivals {arrivals}"
        )
    try:
        recorded = traces.read_trace(trace) if trace else ()
    except TraceUnreadable as error:
        raise click.UsageError(str(error)) from error
    return custom_scenario(
        ArrivalProcess(arrivals),
        ArrivalShape(factor or DEFAULT_SHAPE.factor, period or DEFAULT_SHAPE.period_s, recorded),
    )


@dataclass(frozen=True)
class CampaignOutput:
    """Destination of the report: a folder, and JSON on stdout if ``as_json``."""

    folder: Path
    as_json: bool

    @property
    def console(self) -> PlainConsole:
        """Console for progress and tables: stderr if stdout carries the JSON."""
        stream = sys.stderr if self.as_json else sys.stdout
        width = None if stream.isatty() else CONSOLE_WIDTH
        return PlainConsole(stderr=self.as_json, width=width)


def campaign_settings(
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
    **arrival_options: Any,
) -> tuple[CampaignOptions, CampaignOutput]:
    """Convert the values of CAMPAIGN_OPTIONS. Raises click.UsageError if they exclude each other."""
    custom = scenario_from_options(scenario_names, **arrival_options)
    scenarios = (custom,) if custom else select_scenarios(scenario_names, quick=quick)
    duration_s = duration or (custom and custom.trace_duration_s) or (QUICK_DURATION_S if quick else DEFAULT_DURATION_S)
    options = CampaignOptions(scenarios, seed, rate, duration_s, settle_timeout, max_lag)
    return options, CampaignOutput(report_dir, as_json)


@click.command(epilog=DEMO_EXAMPLES)
@campaign_options
@click.pass_context
def demo(ctx: click.RichContext, /, **values: Any) -> None:
    """Start a suite, run the campaign through all four couplings, and stop everything.

    Exit status 1 if a ride was lost, an effect was duplicated, the sources of a ledger contradict each other, a ledger
    does not close, the plans reached different outcomes, a fault had no effect, a plan that waits for a provider did
    not bridge its outage, an overload was not refused as it should be, or the suite could not start. Exit status 3 if
    nothing failed, but the machine was too busy to judge the figures.
    """
    options, _ = campaign_settings(**values)
    suite = SuiteOptions(ports=allocate_suite_ports(), seed=options.seed, log_level="warning")
    run = LabRun("running the campaign", ["campaign", *arguments_of(ctx)])
    sys.exit(temporary_suite.run_lab(run, suite, open_local_control_room))


@click.command(epilog=CAMPAIGN_EXAMPLES)
@campaign_options
def campaign(**values: Any) -> None:
    """Request the same rides under five plans, scenario by scenario, and write report.json and report.html.

    The suite is the one that `prebook up` started, unless PREBOOK_* variables name another.

    Exit status 1 if a ride was lost, an effect was duplicated, the sources of a ledger contradict each other, a ledger
    does not close, the plans reached different outcomes, a fault had no effect, a plan that waits for a provider did
    not bridge its outage, or an overload was not refused as it should be. Exit status 3 if nothing failed, but the
    machine was too busy to judge the figures.
    """
    sys.exit(run_command(*campaign_settings(**values)))


def run_command(options: CampaignOptions, output: CampaignOutput) -> int:
    """Run the campaign against the suite that the environment names; return the exit status."""
    environment = find_lab_environment()

    def run() -> int:
        settings = read_settings(environment)
        writer.prepare_folder(output.folder)
        return run_interruptible(run_campaign(settings, environment, options, output), uvloop.new_event_loop)

    return exit_status_of(run, "no report was written")


async def run_campaign(
    settings: LabSettings, environment: Mapping[str, str], options: CampaignOptions, output: CampaignOutput
) -> int:
    """Run the campaign, write its report and print the results; return 0 if the verdict is good, else 1."""
    progress = CampaignProgress()
    console = output.console
    async with open_session() as session, terminal.show_progress(progress, console):
        active = Campaign(settings, fault_access.read_fault_access(session, environment), options, session, progress)
        raw = await active.run()
    for name, content in report_files(raw).items():
        writer.replace_file(output.folder / name, content)
    report = campaign_report(raw)
    print_results(report, output.folder / PAGE_FILE, console, output)
    return exit_status(report.verdict)


def exit_status(verdict: CampaignVerdict | None) -> int:
    """Return 0, 1 for a failure, or EXIT_NOT_JUDGED if only the machine was too busy."""
    if verdict is None or verdict.problems:
        return 1
    return EXIT_NOT_JUDGED if verdict.doubts else 0


def print_results(report: CampaignReport, page: Path, console: PlainConsole, output: CampaignOutput) -> None:
    """Print the tables and the path of the HTML report, and the JSON to stdout if requested."""
    console.print(terminal.results(report))
    console.print(f"{report.duration_s:.0f} s. Report: {page}", soft_wrap=True, highlight=False)
    if output.as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
