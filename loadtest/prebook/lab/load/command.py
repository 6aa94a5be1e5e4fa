"""``python -m prebook.lab self-test``."""

import sys

import msgspec
import rich_click as click
import uvloop

from prebook.devstack.parameters import POSITIVE
from prebook.lab.load.generator import MAX_LAG_MS
from prebook.lab.load.self_test import NoArrivals, SelfTestReport, run_self_test
from prebook.lab.quantiles import format_ms


@click.command("self-test")
@click.option("--rate", type=POSITIVE, default=2500.0, show_default=True, help="Arrivals a second.")
@click.option("--duration", type=POSITIVE, default=5.0, show_default=True, help="Seconds.")
@click.option(
    "--max-lag",
    type=POSITIVE,
    default=MAX_LAG_MS,
    show_default=True,
    help="Milliseconds that requests may leave late.",
)
@click.option("--json", "as_json", is_flag=True, help="The figures as one JSON object.")
def self_test(*, rate: float, duration: float, max_lag: float, as_json: bool) -> None:
    """Drive arrivals at a trivial HTTP server of its own, and say how late the generator itself was.

    Exit status 1 if it was later than --max-lag at p99: at this rate, on this machine, its results would be refused.

    \b
    Examples:
      prebook load self-test
      prebook load self-test --rate 4000 --duration 10 --json
    """
    try:
        made = uvloop.run(run_self_test(rate, duration))
    except NoArrivals as wrong:
        raise click.UsageError(f"{wrong}; raise --rate or --duration") from wrong
    click.echo(msgspec.json.encode(made).decode() if as_json else report_text(made))
    if made.lag_ms.p99 > max_lag:
        click.echo(
            f"Error: late by {format_ms(made.lag_ms.p99)} at p99, more than {format_ms(max_lag)}; lower --rate",
            err=True,
        )
        sys.exit(1)


def report_text(report: SelfTestReport) -> str:
    lag = report.lag_ms
    answer = report.response_ms
    return (
        f"{report.arrivals} arrivals, {report.offered_per_s:.0f} a second of {report.planned_per_s:g} planned, "
        f"{report.accepted} answered; {report.cpu_us:.0f} us of processor time each.\n"
        f"Requests left late by {format_ms(lag.p50)} (p50), {format_ms(lag.p99)} (p99), {format_ms(lag.max)} (max); "
        f"answered after {format_ms(answer.p50)} (p50), {format_ms(answer.p99)} (p99), {format_ms(answer.max)} (max)."
    )
