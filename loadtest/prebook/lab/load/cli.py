"""``python -m loadtest self-test``."""

import sys

import msgspec
import rich_click as click
import uvloop

from prebook.devstack.parameters import ABOVE_0
from prebook.lab.campaign.scenario_report import REFUSED_MS
from prebook.lab.load.self_test import NothingToDrive, SelfTest, driven
from prebook.lab.report.ranking import ms


@click.command("self-test")
@click.option("--rate", type=ABOVE_0, default=2500.0, show_default=True, help="Arrivals a second.")
@click.option("--duration", type=ABOVE_0, default=5.0, show_default=True, help="Seconds.")
@click.option(
    "--most-lag", type=ABOVE_0, default=REFUSED_MS, show_default=True, help="Milliseconds that requests may leave late."
)
@click.option("--json", "as_json", is_flag=True, help="The figures as one JSON object.")
def self_test(*, rate: float, duration: float, most_lag: float, as_json: bool) -> None:
    """Drive arrivals at a trivial HTTP server of its own, and say how late the generator itself was.

    Exit status 1 if it was later than --most-lag at p99: at this rate, on this machine, its results would be refused.

    \b
    Examples:
      prebook load self-test
      prebook load self-test --rate 4000 --duration 10 --json
    """
    try:
        made = uvloop.run(driven(rate, duration))
    except NothingToDrive as wrong:
        raise click.UsageError(f"{wrong}; raise --rate or --duration") from wrong
    click.echo(msgspec.json.encode(made).decode() if as_json else told(made))
    if made.lag_ms.p99 > most_lag:
        click.echo(f"Error: late by {ms(made.lag_ms.p99)} at p99, more than {ms(most_lag)}; lower --rate", err=True)
        sys.exit(1)


def told(made: SelfTest) -> str:
    lag, answer = made.lag_ms, made.answer_ms
    return (
        f"{made.arrivals} arrivals, {made.offered_per_s:.0f} a second of {made.planned_per_s:g} planned, "
        f"{made.answered} answered; {made.cpu_us:.0f} us of processor time each.\n"
        f"Requests left late by {ms(lag.p50)} (p50), {ms(lag.p99)} (p99), {ms(lag.max)} (max); "
        f"answered after {ms(answer.p50)} (p50), {ms(answer.p99)} (p99), {ms(answer.max)} (max)."
    )
