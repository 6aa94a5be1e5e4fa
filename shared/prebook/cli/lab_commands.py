"""`prebook demo` and `prebook load`: the campaign, against a suite of its own or against the one that runs."""

import sys
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from prebook.devstack import command_line, lab_process, parameters, temporary_suite
from prebook.devstack.command_line import UserErrorGroup, examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE, WRITABLE_FOLDER, FiniteRange
from prebook.devstack.service_environment import SuiteOptions, lab_environment
from prebook.devstack.suite_state import SuiteState, read_suite_state
from prebook.runtime import paths

FAULT_EXAMPLES = examples(
    "prebook fault list",
    "prebook fault show broker_kill",
    "prebook fault inject pause_pricing --for 5",
)
LIST_EXAMPLES = examples("prebook fault list", "prebook fault list --json | jq '.[] | select(.why_not == \"\").name'")
SHOW_EXAMPLES = examples("prebook fault show connections_cut", "prebook fault show kill_pricing --json")
INJECT_EXAMPLES = examples(
    "prebook fault inject kill_matching --for 3",
    "prebook fault inject connections_cut --json | jq .evidence",
)
PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Context settings of a command that hands its arguments on to the lab."""
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")


@click.group(cls=UserErrorGroup, epilog=FAULT_EXAMPLES)
def fault() -> None:
    """Break one thing of the running suite on purpose, for a time, and see that it was broken."""


@fault.command("list", epilog=LIST_EXAMPLES)
@json_option
def list_(*, as_json: bool) -> None:
    """Every fault: what to expect of it, and whether the running suite can be given it, or why not."""
    _run_fault_program("list", as_json=as_json, environment=_read_suite_environment_if_running())


@fault.command(epilog=SHOW_EXAMPLES)
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """All about one fault, NAME."""
    _run_fault_program("show", name, as_json=as_json, environment=_read_suite_environment_if_running())


@fault.command(epilog=INJECT_EXAMPLES)
@click.argument("name")
@click.option("--for", "for_s", type=FiniteRange(min=0.1, max=300), help="Seconds. [default: the fault's own]")
@json_option
def inject(*, name: str, for_s: float | None, as_json: bool) -> None:
    """Break it now, wait, undo it, and print how we know that it was broken.

    Exit status 1 if it had no effect, or cannot be injected here.
    """
    lasting = () if for_s is None else ("--for", str(for_s))
    _run_fault_program(
        "inject", name, *lasting, as_json=as_json, environment=lab_environment(read_suite_state(paths.home_dir()))
    )


def _read_suite_environment_if_running() -> Mapping[str, str]:
    """The catalogue can be read without a suite, too."""
    try:
        return lab_environment(read_suite_state(paths.home_dir()))
    except UserError:
        return {}


def _run_fault_program(*arguments: str, as_json: bool, environment: Mapping[str, str]) -> None:
    flags = ("--json",) if as_json else ()
    sys.exit(command_line.run_interruptible(lab_process.run_lab_process(("fault", *arguments, *flags), environment)))


CHAOS_EXAMPLES = examples(
    "prebook chaos --bookings 500 --faults 8",
    "prebook chaos --bookings 10000 --faults 60 --seed 3",
    "prebook chaos --broker-nodes 3     # among the faults, the cluster loses its leader",
    "prebook chaos --bookings 1000 --faults 12 --json | jq .faults",
)
POSITIVE_COUNT = click.IntRange(min=1)


@click.command(epilog=CHAOS_EXAMPLES)
@click.option("--bookings", type=POSITIVE_COUNT, default=10_000, show_default=True, help="How many are offered.")
@click.option("--faults", type=POSITIVE_COUNT, default=60, show_default=True, help="How many are injected meanwhile.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same and draws the same faults.")
@click.option(
    "--rate",
    type=POSITIVE,
    help="Rides offered a second. [default: 12, or slower where all the faults would not fit in]",
)
@parameters.broker_nodes_option
@click.option("--json", "as_json", is_flag=True, help="The result on stdout; everything else on stderr.")
def chaos(*, bookings: int, faults: int, seed: int, rate: float | None, broker_nodes: str, as_json: bool) -> None:
    """Start a suite, offer bookings of all plans, mixed, while random faults come, and judge what became of each.

    Faults are drawn by the seed from all that can be injected here. Exit status 1 if a booking was lost, stuck, doubled
    or misordered, if a fault took no effect, or if no message came a second time.
    """
    flags = [*(("--rate", str(rate)) if rate else ()), *(("--json",) if as_json else ())]
    arguments = ["chaos", "--bookings", str(bookings), "--faults", str(faults), "--seed", str(seed), *flags]
    terms = SuiteOptions(
        ports=temporary_suite.allocate_suite_ports(),
        seed=seed,
        log_level="warning",
        fault_proxies=True,
        broker_nodes=int(broker_nodes),
    )
    sys.exit(temporary_suite.run_lab("breaking the suite", arguments, terms, _chaos_environment))


def _chaos_environment(suite: SuiteState) -> Mapping[str, str]:
    """With the database, which the judgement reads for itself."""
    return {**lab_environment(suite), "PREBOOK_DATABASE_URL": suite.database_url}


BACK_PRESSURE_MODES = ("on", "off")
BURST_EXAMPLES = examples(
    "prebook load burst",
    "prebook load burst --factor 2 --duration 10",
    "prebook load burst --capacity 40 --report reports/burst",
    "prebook load burst --back-pressure off --capacity 40",
    "prebook load burst --json | jq .verdict",
)


@click.command(epilog=BURST_EXAMPLES)
@click.option("--capacity", type=POSITIVE, help="Rides settled a second. [default: found by offering more and more]")
@click.option("--factor", type=POSITIVE, default=5.0, show_default=True, help="How many times the capacity is offered.")
@click.option("--duration", type=POSITIVE, default=60.0, show_default=True, help="For how many seconds.")
@click.option("--seed", default=7, show_default=True, help="Both sides are offered the same rides at the same times.")
@click.option(
    "--back-pressure",
    type=click.Choice([*BACK_PRESSURE_MODES, "both"]),
    default="both",
    show_default=True,
    help="Sides to play.",
)
@click.option(
    "--report",
    type=WRITABLE_FOLDER,
    default="reports/burst",
    show_default=True,
    help="Folder for report.json, report.html, and what was measured of each side.",
)
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; progress and tables on stderr.")
def burst(
    *,
    capacity: float | None,
    factor: float,
    duration: float,
    seed: int,
    back_pressure: str,
    report: Path,
    as_json: bool,
) -> None:
    """Offer several times the capacity for a minute, with back pressure on and off, and set both side by side.

    Exit status 1 if, with it on, the age of the oldest message or memory left its bounds, less than 0.9 of the capacity
    was settled in time, a ride was turned away without a word, or one was lost; or if, with it off, nothing grew; or if
    one of these was not measured, which is said apart.
    """
    given = (("--capacity", capacity), ("--factor", factor), ("--duration", duration), ("--seed", seed))
    arguments = [word for flag, value in given if value is not None for word in (flag, str(value))]
    _clear_measurements(report)
    for side in BACK_PRESSURE_MODES if back_pressure == "both" else (back_pressure,):
        terms = SuiteOptions(
            ports=temporary_suite.allocate_suite_ports(),
            seed=seed,
            log_level="error",
            settings={"PREBOOK_BACK_PRESSURE": side},
        )
        command = ["burst", "measure", "--side", side, "--output-dir", str(report), *arguments]
        status = temporary_suite.run_lab(f"a burst with back pressure {side}", command, terms, _burst_environment)
        if status:
            sys.exit(status)
    shown = ["burst", "judge", str(report), *(("--json",) if as_json else ())]
    sys.exit(command_line.run_interruptible(lab_process.run_lab_process(shown, {})))


def _clear_measurements(folder: Path) -> None:
    """What was measured before is not to be judged with this. Raises click.UsageError."""
    try:
        for side in BACK_PRESSURE_MODES:
            (folder / f"{side}.json").unlink(missing_ok=True)
    except OSError as error:
        raise click.UsageError(f"cannot clear {folder} ({error}); choose another folder with --report") from error


def _burst_environment(suite: SuiteState) -> Mapping[str, str]:
    """With the database, which is looked at every second."""
    return {**lab_environment(suite), "PREBOOK_DATABASE_URL": suite.database_url}


@click.command(context_settings=PASS_THROUGH, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure relay, channels and inlets beside the least that does their work.

    It starts a broker and a database of its own. A benchmark: run it on a machine that does nothing else.
    """
    bench_process = lab_process.run_lab_process(
        arguments, {}, module=lab_process.BENCH_MODULE, stop_timeout_s=lab_process.BENCH_STOP_TIMEOUT_S
    )
    sys.exit(command_line.run_interruptible(bench_process))


DEMO_EXAMPLES = examples(
    "prebook demo --quick",
    "prebook demo --seed 42 --report reports/42",
    "prebook demo --quick --json > report.json",
)
LOAD_EXAMPLES = examples(
    "prebook load campaign --help",
    "prebook load --quick --seed 7                    as `prebook load campaign --quick --seed 7`",
    "prebook load --arrivals square --rate 5 --factor 6 --period 8 --report reports/wave",
    "prebook load --arrivals replay --trace reports/wave/samples.jsonl --report reports/again",
    "prebook load compare reports/wave reports/again",
    "prebook load burst --factor 2 --duration 10",
    "prebook load self-test --rate 2500",
)


@click.command(epilog=DEMO_EXAMPLES)
@click.option("--quick", is_flag=True, help="Short scenarios: all within a minute.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same rides at the same times.")
@click.option(
    "--report",
    type=WRITABLE_FOLDER,
    help="Folder for report.json and report.html.",
    default="reports/latest",
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; progress on stderr.")
def demo(*, quick: bool, seed: int, report: Path, as_json: bool) -> None:
    """Start a suite, run the campaign through all four couplings, and stop everything.

    Exit status 1 if a ride was lost, an effect doubled, a ledger left open, or the suite could not start.
    """
    flags = [flag for flag, given in (("--quick", quick), ("--json", as_json)) if given]
    arguments = [*flags, "--seed", str(seed), "--report", str(report)]
    terms = SuiteOptions(ports=temporary_suite.allocate_suite_ports(), seed=seed, log_level="warning")
    sys.exit(temporary_suite.run_lab("running the campaign", ["campaign", *arguments], terms, lab_environment))


class DefaultCampaignGroup(click.RichGroup):
    """Options without a command are the campaign's: `prebook load --scenario calm`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, ["campaign", *args] if args[0].startswith("-") else args)


@click.group(
    cls=DefaultCampaignGroup,
    epilog=LOAD_EXAMPLES,
    invoke_without_command=True,
    context_settings=PASS_THROUGH,
)
@click.pass_context
def load(ctx: click.Context) -> None:
    """Load a suite: the campaign, a burst with and without back pressure, or two runs compared.

    Options without a command are the campaign's.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(campaign)


@load.command(context_settings=PASS_THROUGH, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def campaign(arguments: tuple[str, ...] = ()) -> None:
    """Play scenarios, or arrivals of your choice, against the suite that `prebook up` started."""
    sys.exit(
        command_line.run_interruptible(lab_process.run_lab_process(("campaign", *arguments), _read_suite_environment()))
    )


def _read_suite_environment() -> Mapping[str, str]:
    """Where the suite is, or why there is none."""
    try:
        return lab_environment(read_suite_state(paths.home_dir()))
    except UserError as trouble:
        return {lab_process.NO_SUITE_VARIABLE: f"{trouble.problem}; {trouble.remedy}"}


@load.command(context_settings=PASS_THROUGH, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def compare(arguments: tuple[str, ...]) -> None:
    """Set two runs' samples against each other: what differs, by how much, and how sure that is."""
    sys.exit(command_line.run_interruptible(lab_process.run_lab_process(("compare", *arguments), {})))


@load.command("self-test", context_settings=PASS_THROUGH, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def self_test(arguments: tuple[str, ...]) -> None:
    """Drive the generator alone, against the least that answers: how many arrivals it makes, and how late it is."""
    sys.exit(command_line.run_interruptible(lab_process.run_lab_process(("self-test", *arguments), {})))


load.add_command(burst)
