"""``python -m loadtest chaos``: one run against a running suite."""

import asyncio
import os
import sys

import msgspec
import rich_click as click
from rich.console import Console

from prebook.devstack.parameters import ABOVE_0
from prebook.lab.chaos import terminal
from prebook.lab.chaos.arrivals import usual_rate
from prebook.lab.chaos.database import TablesUnreadable
from prebook.lab.chaos.judge import judged
from prebook.lab.chaos.run import NothingToBreak, Run, Terms
from prebook.lab.exit_status import status_of
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.settings import WrongEnvironment

WIDE = 160
AT_LEAST_1 = click.IntRange(min=1)


@click.command
@click.option("--bookings", type=AT_LEAST_1, default=10_000, show_default=True, help="How many are offered.")
@click.option("--faults", type=AT_LEAST_1, default=60, show_default=True, help="How many are injected meanwhile.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same and draws the same faults.")
@click.option("--rate", type=ABOVE_0, help="Rides offered a second. [default: 12, or slower for all faults to fit in]")
@click.option(
    "--settle", type=ABOVE_0, default=180.0, show_default=True, help="Seconds for all to come to rest afterwards."
)
@click.option("--json", "as_json", is_flag=True, help="The result on stdout; everything else on stderr.")
def chaos(*, bookings: int, faults: int, seed: int, rate: float | None, settle: float, as_json: bool) -> None:
    """Offer bookings of all plans, mixed, while random faults come, and judge what became of every one of them.

    Exit status 1 if a booking was lost, stuck, doubled or misordered, a fault took no effect, or no message came twice.
    """
    terms = Terms(bookings, faults, seed, rate or usual_rate(bookings, faults), settle)
    sys.exit(status(terms, as_json=as_json))


def status(terms: Terms, *, as_json: bool) -> int:
    stream = sys.stderr if as_json else sys.stdout
    console = Console(stderr=as_json, width=None if stream.isatty() else WIDE)

    def run() -> int:
        return asyncio.run(played(terms, console, as_json=as_json))

    return status_of(run, "nothing was judged", TablesUnreadable, NothingToBreak)


async def played(terms: Terms, console: Console, *, as_json: bool) -> int:
    database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
    if not database_url:
        raise WrongEnvironment(["PREBOOK_DATABASE_URL is not set; expected the database as its administrator"])
    async with open_session() as session:
        run = Run(terms, levers(session, os.environ), database_url)
        console.print(terminal.schedule(await run.prepare(), terms.seed))
        async with terminal.shown(run, console):
            evidence = await run.play()
    verdict = judged(evidence)
    console.print(terminal.judgement(verdict, evidence))
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdict.result).decode() + "\n")
    return 0 if verdict.ok else 1
