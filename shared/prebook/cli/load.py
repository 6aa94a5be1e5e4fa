"""`prebook demo` and `prebook load`: the campaign, against a suite of its own or against the one that runs."""

import sys
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from prebook.cli import interruption, own_suite, program
from prebook.cli.burst import burst
from prebook.cli.environments import Terms, loadtest
from prebook.cli.telling import examples
from prebook.cli.whereabouts import running
from prebook.given import FOLDER
from prebook.runtime import places
from prebook.runtime.stack.trouble import Trouble

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
    type=FOLDER,
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
    terms = Terms(ports=own_suite.ports(), seed=seed, log_level="warning")
    sys.exit(own_suite.played("running the campaign", ["campaign", *arguments], terms, loadtest))


class OrCampaign(click.RichGroup):
    """Options without a command are the campaign's: `prebook load --scenario calm`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, ["campaign", *args] if args[0].startswith("-") else args)


@click.group(cls=OrCampaign, epilog=LOAD_EXAMPLES, invoke_without_command=True, context_settings=program.PASSED_ON)
@click.pass_context
def load(ctx: click.Context) -> None:
    """Load a suite: the campaign, a burst with and without back pressure, or two runs compared.

    Options without a command are the campaign's.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(campaign)


@load.command(context_settings=program.PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def campaign(arguments: tuple[str, ...] = ()) -> None:
    """Play scenarios, or arrivals of your choice, against the suite that `prebook up` started."""
    sys.exit(interruption.run(program.run(("campaign", *arguments), _told())))


def _told() -> Mapping[str, str]:
    """Where the suite is, or why there is none."""
    try:
        return loadtest(running(places.home()))
    except Trouble as trouble:
        return {program.NO_SUITE: f"{trouble.problem}; {trouble.remedy}"}


@load.command(context_settings=program.PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def compare(arguments: tuple[str, ...]) -> None:
    """Set two runs' samples against each other: what differs, by how much, and how sure that is."""
    sys.exit(interruption.run(program.run(("compare", *arguments), {})))


@load.command("self-test", context_settings=program.PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def self_test(arguments: tuple[str, ...]) -> None:
    """Drive the generator alone, against the least that answers: how many arrivals it makes, and how late it is."""
    sys.exit(interruption.run(program.run(("self-test", *arguments), {})))


load.add_command(burst)
