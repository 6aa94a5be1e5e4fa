"""``python -m prebook.lab chaos``: one run against a running suite."""

import asyncio
import os
import sys

import msgspec
import rich_click as click
from rich.console import Console

from prebook.devstack.parameters import POSITIVE
from prebook.lab.chaos import terminal
from prebook.lab.chaos.arrivals import default_rate_per_s
from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.run import ChaosOptions, ChaosRun
from prebook.lab.exit_status import exit_status_of
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.settings import InvalidEnvironment

CONSOLE_WIDTH = 160
AT_LEAST_1 = click.IntRange(min=1)


@click.command
@click.option("--bookings", type=AT_LEAST_1, default=10_000, show_default=True, help="How many are offered.")
@click.option("--faults", type=AT_LEAST_1, default=60, show_default=True, help="How many are injected meanwhile.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same and draws the same faults.")
@click.option("--rate", type=POSITIVE, help="Rides offered a second. [default: 12, or slower for all faults to fit in]")
@click.option(
    "--settle-timeout",
    type=POSITIVE,
    default=180.0,
    show_default=True,
    help="Seconds for all to come to rest afterwards.",
)
@click.option("--json", "as_json", is_flag=True, help="The result on stdout; everything else on stderr.")
def chaos(*, bookings: int, faults: int, seed: int, rate: float | None, settle_timeout: float, as_json: bool) -> None:
    """Offer bookings of all plans, mixed, while random faults come, and judge what became of every one of them.

    Exit status 1 if a booking was lost, stuck, doubled or misordered, a fault took no effect, or no message came twice.
    """
    options = ChaosOptions(bookings, faults, seed, rate or default_rate_per_s(bookings, faults), settle_timeout)
    sys.exit(run_guarded(options, as_json=as_json))


def run_guarded(options: ChaosOptions, *, as_json: bool) -> int:
    stream = sys.stderr if as_json else sys.stdout
    console = Console(stderr=as_json, width=None if stream.isatty() else CONSOLE_WIDTH)

    def run() -> int:
        return asyncio.run(run_and_judge(options, console, as_json=as_json))

    return exit_status_of(run, "nothing was judged")


async def run_and_judge(options: ChaosOptions, console: Console, *, as_json: bool) -> int:
    database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
    if not database_url:
        raise InvalidEnvironment(["PREBOOK_DATABASE_URL is not set; expected the database as its administrator"])
    async with open_session() as session:
        run = ChaosRun(options, fault_access.read_fault_access(session, os.environ), database_url)
        console.print(terminal.schedule_table(await run.prepare(), options.seed))
        async with terminal.show_progress(run, console):
            evidence = await run.run()
    verdict = judge(evidence)
    console.print(terminal.verdict_view(verdict, evidence))
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdict.result).decode() + "\n")
    return 0 if verdict.ok else 1
