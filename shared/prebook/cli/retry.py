"""`prebook retry`: what the policies mean in time."""

from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.topology import load_policies, policies_option
from prebook.devstack.command_line import UserErrorGroup, examples
from prebook.flows import FLOWS
from prebook.messaging.policy import FlowPolicy
from prebook.patterns.retry import ScheduledAttempt
from prebook.patterns.retry import retry_schedule as attempts_of

EXAMPLES = examples(
    "prebook retry schedule quote_fare",
    "prebook retry schedule ask_fleet --policies my-couplings.toml --json",
)


@click.group(cls=UserErrorGroup)
def retry() -> None:
    """How often, and when, a message is tried."""


@retry.command(epilog=EXAMPLES)
@click.argument("flow", type=click.Choice(list(FLOWS)))
@policies_option
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
def schedule(*, flow: str, policies_path: Path, as_json: bool) -> None:
    """When each attempt at a message of FLOW would happen if all of them failed, and when nobody waits any more.

    Pauses are spread, so that what failed together does not come back together: each is a range.

    An outage of what a service stands on is not counted: its messages wait in hand, and no attempt is used up.
    """
    policy = load_policies(policies_path)[flow]
    attempts = attempts_of(max_attempts=policy.max_attempts, backoff_s=policy.backoff_s)
    if as_json:
        click.echo(msgspec.json.encode({"flow": flow, "deadline_s": policy.deadline_s, "attempts": attempts}))
    else:
        Console().print(_table(flow, policy, attempts))


def _table(flow: str, policy: FlowPolicy, attempts: tuple[ScheduledAttempt, ...]) -> Table:
    table = Table(
        title=f"{flow}: parked after attempt {policy.max_attempts}; answered by silence at {policy.deadline_s:g} s"
    )
    for heading in ("attempt", "after a pause of", "at"):
        table.add_column(heading, justify="right")
    for attempt in attempts:
        table.add_row(str(attempt.number), _range_text(attempt.delay_s), _range_text(attempt.at_s))
    return table


def _range_text(seconds: tuple[float, float]) -> str:
    least, most = seconds
    return f"{least:g} s" if least == most else f"{least:g} to {most:g} s"
