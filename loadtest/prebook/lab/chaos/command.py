"""`prebook chaos`: start a temporary suite, inject random faults under load, judge every booking."""

import os
import sys
from contextlib import nullcontext
from typing import Any

import msgspec
import rich_click as click

from prebook.devstack import temporary_suite
from prebook.devstack.command_line import examples, run_interruptible
from prebook.devstack.parameters import (
    POSITIVE,
    POSITIVE_COUNT,
    arguments_of,
    broker_nodes_option,
    combine,
    json_option,
    rate_option,
    seed_option,
)
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.service_environment import SuiteOptions, rider_callback_settings
from prebook.devstack.temporary_suite import LabRun, allocate_suite_ports
from prebook.devstack.terminal import PlainConsole
from prebook.lab.chaos import terminal
from prebook.lab.chaos.arrivals import default_rate_per_s
from prebook.lab.chaos.callback_receiver import read_callback_receiver
from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.run import ChaosOptions, ChaosRun
from prebook.lab.exit_status import exit_status_of
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.flow_limits import read_flow_limits
from prebook.lab.suite_client.settings import InvalidEnvironment

CONSOLE_WIDTH = 190
DEFAULT_BOOKINGS = 10_000
DEFAULT_FAULTS = 60
DEFAULT_SETTLE_TIMEOUT_S = 660.0
EXAMPLES = examples(
    "prebook chaos --bookings 500 --faults 8",
    "prebook chaos --bookings 10000 --faults 60 --seed 3",
    "prebook chaos --broker-nodes 3     # adds the fault that a queue's leader is killed",
    "prebook chaos --bookings 1000 --faults 12 --json | jq .faults",
)
chaos_options = combine(
    click.option(
        "--bookings", type=POSITIVE_COUNT, default=DEFAULT_BOOKINGS, show_default=True, help="Number of bookings."
    ),
    click.option(
        "--faults", type=POSITIVE_COUNT, default=DEFAULT_FAULTS, show_default=True, help="Number of faults to inject."
    ),
    seed_option("Seed of bookings and faults: equal seeds offer equal bookings and draw equal faults."),
    rate_option("Rides offered per second. [default: 12, or less so that all faults fit in]"),
    click.option(
        "--settle-timeout",
        type=POSITIVE,
        default=DEFAULT_SETTLE_TIMEOUT_S,
        show_default=True,
        help="Seconds that the suite may take after the load until every booking is settled.",
    ),
    json_option("Print the result to stdout, everything else to stderr."),
)


@click.command(epilog=EXAMPLES)
@chaos_options
@broker_nodes_option
@click.pass_context
def chaos(ctx: click.RichContext, /, *, seed: int, broker_nodes: str, **_: Any) -> None:
    """Start a suite, offer bookings under all plans while random faults are injected, and judge every booking.

    The seed draws the faults from those that can be injected on this machine. Exit status 1 if a booking was lost,
    stuck, duplicated or misordered, if one ended without an answer and no fault explains it, if a fault took no effect,
    or if no message was delivered twice.
    """
    (receiver_port,) = allocate_ports(1)
    suite = SuiteOptions(
        ports=allocate_suite_ports(),
        settings=rider_callback_settings(f"http://{LOOPBACK}:{receiver_port}"),
        seed=seed,
        log_level="warning",
        fault_proxies=True,
        broker_nodes=int(broker_nodes),
    )
    arguments = ["chaos", *arguments_of(ctx, without=("broker_nodes",))]
    sys.exit(temporary_suite.run_lab(LabRun("breaking the suite", arguments, with_database=True), suite))


@click.command("chaos")
@chaos_options
def chaos_run(
    *, bookings: int, faults: int, seed: int, rate: float | None, settle_timeout: float, as_json: bool
) -> None:
    """Run `prebook chaos` against the suite named by the PREBOOK_* variables, including PREBOOK_DATABASE_URL."""
    options = ChaosOptions(bookings, faults, seed, rate or default_rate_per_s(bookings, faults), settle_timeout)
    sys.exit(run_guarded(options, as_json=as_json))


def run_guarded(options: ChaosOptions, *, as_json: bool) -> int:
    """Run and judge; return the exit status, also after an interruption."""
    stream = sys.stderr if as_json else sys.stdout
    console = PlainConsole(stderr=as_json, width=None if stream.isatty() else CONSOLE_WIDTH)

    def run() -> int:
        return run_interruptible(run_and_judge(options, console, as_json=as_json))

    return exit_status_of(run, "the run has no verdict")


async def run_and_judge(options: ChaosOptions, console: PlainConsole, *, as_json: bool) -> int:
    """Run, print schedule, progress and verdict on ``console``, and return 0 if the run passed, else 1.

    Raises:
        UserError: The environment names no suite, or the suite or its database cannot be read.
    """
    database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
    if not database_url:
        raise InvalidEnvironment(["PREBOOK_DATABASE_URL is not set; expected the database URL of an administrator"])
    receiver = read_callback_receiver(os.environ)
    async with open_session() as session, receiver.serve() if receiver else nullcontext():
        access = fault_access.read_fault_access(session, os.environ)
        run = ChaosRun(options, access, database_url, read_flow_limits(os.environ), receiver)
        console.print(terminal.schedule_table(await run.prepare(), options.seed))
        async with terminal.show_progress(run, console):
            evidence = await run.run()
    verdict = judge(evidence)
    console.print(terminal.verdict_view(verdict, evidence))
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdict.result).decode() + "\n")
    return 0 if verdict.ok else 1
