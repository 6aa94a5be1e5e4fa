"""`prebook retry`: the times of the attempts that a flow's policy allows."""

from pathlib import Path

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.topology import load_policies, policies_option
from prebook.devstack.command_line import examples
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import FLOWS
from prebook.messaging.policy import FlowPolicy
from prebook.patterns.retry import ScheduledAttempt, retry_schedule

EXAMPLES = examples(
    "prebook retry schedule quote_fare",
    "prebook retry schedule ask_fleet --policies my-couplings.toml --json",
)


@click.group()
def retry() -> None:
    """Show how often, and when, a message is attempted."""


@retry.command(epilog=EXAMPLES)
@click.argument("flow", type=click.Choice(list(FLOWS)))
@policies_option
@json_option()
def schedule(*, flow: str, policies_path: Path, as_json: bool) -> None:
    """Print when each attempt at a message of FLOW would happen if all of them failed, and when its deadline passes.

    Delays are randomised, so that messages that failed together are not retried together: each delay is a range.

    Attempts are not used up while the service's database, broker or provider is down: consumption is paused then.
    """
    policy = load_policies(policies_path)[flow]
    attempts = retry_schedule(max_attempts=policy.max_attempts, backoff_s=policy.backoff_s)
    if as_json:
        echo(msgspec.json.encode({"flow": flow, "deadline_s": policy.deadline_s, "attempts": attempts}))
    else:
        PlainConsole().print(_table(flow, policy, attempts))


def _table(flow: str, policy: FlowPolicy, attempts: tuple[ScheduledAttempt, ...]) -> Table:
    limits = f"parked after attempt {policy.max_attempts}; timeout reply at {policy.deadline_s:g} s"
    table = Table(title=f"{flow}: {limits}")
    for heading in ("attempt", "after a delay of", "at"):
        table.add_column(heading, justify="right")
    for attempt in attempts:
        table.add_row(str(attempt.number), _range_text(attempt.delay_s), _range_text(attempt.at_s))
    return table


def _range_text(seconds: tuple[float, float]) -> str:
    low, high = seconds
    return f"{low:g} s" if low == high else f"{low:g} to {high:g} s"
