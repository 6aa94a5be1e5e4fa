"""`prebook demo` and `prebook load`: the campaign, against a suite of its own or against the one that runs."""

import sys

import rich_click as click

from prebook.cli import interruption, own_suite, program
from prebook.cli.environments import Terms, loadtest
from prebook.cli.telling import examples
from prebook.cli.whereabouts import running
from prebook.runtime import places

DEMO_EXAMPLES = examples(
    "prebook demo --quick",
    "prebook demo --seed 42 --report reports/42",
    "prebook demo --quick --json > report.json",
)
LOAD_EXAMPLES = examples(
    "prebook load -- --help",
    "prebook load -- --quick --seed 7",
    "prebook load -- --scenario calm --rate 10",
)


@click.command(epilog=DEMO_EXAMPLES)
@click.option("--quick", is_flag=True, help="Short scenarios: all within a minute.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same rides at the same times.")
@click.option("--report", help="Folder for report.json and report.html.", default="reports/latest", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; progress on stderr.")
def demo(*, quick: bool, seed: int, report: str, as_json: bool) -> None:
    """Start a suite, run the campaign through all four couplings, and stop everything.

    Exit status 1 if a ride was lost, an effect doubled, a ledger left open, or the suite could not start.
    """
    flags = [flag for flag, given in (("--quick", quick), ("--json", as_json)) if given]
    arguments = [*flags, "--seed", str(seed), "--report", report]
    terms = Terms(ports=own_suite.ports(), seed=seed, log_level="warning")
    sys.exit(own_suite.played("running the campaign", ["campaign", *arguments], terms, loadtest))


@click.command(epilog=LOAD_EXAMPLES)
@click.argument("arguments", nargs=-1)
def load(arguments: tuple[str, ...]) -> None:
    """Run the campaign against the suite that `prebook up` started. ARGUMENTS are the campaign's, after `--`."""
    sys.exit(interruption.run(program.run(("campaign", *arguments), loadtest(running(places.home())))))
