"""`prebook demo` and `prebook load`: the campaign, against a suite of its own or against the one that runs."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from prebook.cli import interruption, program
from prebook.cli.environments import Terms, loadtest
from prebook.cli.launch import launched
from prebook.cli.telling import examples, say
from prebook.cli.whereabouts import Whereabouts, running
from prebook.flows import PROCESSES
from prebook.runtime import places
from prebook.runtime.stack.ports import free_ports
from prebook.runtime.stack.trouble import Trouble

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
    sys.exit(_in_a_home_of_its_own(arguments, seed))


@click.command(epilog=LOAD_EXAMPLES)
@click.argument("arguments", nargs=-1)
def load(arguments: tuple[str, ...]) -> None:
    """Run the campaign against the suite that `prebook up` started. ARGUMENTS are the campaign's, after `--`."""
    sys.exit(interruption.run(_campaign(running(places.home()), arguments)))


def _in_a_home_of_its_own(arguments: Sequence[str], seed: int) -> int:
    """The home goes with the demo, unless it failed: then the logs are worth reading."""
    home = Path(tempfile.mkdtemp(prefix="prebook-demo-"))
    terms = Terms(ports=free_ports(len(PROCESSES) + 1), seed=seed, log_level="warning")
    try:
        status = interruption.run(_demo(home, terms, arguments))
    except interruption.Interrupted:
        shutil.rmtree(home, ignore_errors=True)
        raise
    except Trouble as trouble:
        raise Trouble(trouble.problem, f"{trouble.remedy}; logs: {home / 'logs'}") from trouble
    if status:
        say(f"the logs of the services are in {home / 'logs'}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return status


async def _demo(home: Path, terms: Terms, arguments: Sequence[str]) -> int:
    async with launched(home, terms, say) as suite:
        say(f"running the campaign on {suite.whereabouts.broker} and {suite.whereabouts.database}")
        campaign = asyncio.create_task(_campaign(suite.whereabouts, arguments))
        broken = asyncio.create_task(suite.broken())
        try:
            await asyncio.wait((campaign, broken), return_when=asyncio.FIRST_COMPLETED)
            if campaign.done():
                return campaign.result()
            raise broken.result()
        finally:
            broken.cancel()
            campaign.cancel()
            await asyncio.wait((campaign, broken))


async def _campaign(suite: Whereabouts, arguments: Sequence[str]) -> int:
    """Its exit status."""
    return await program.run(("campaign", *arguments), loadtest(suite))
