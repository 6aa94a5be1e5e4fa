"""`prebook load self-test`: measure the rate and the lag of the load generator on this machine."""

import msgspec
import rich_click as click
import uvloop

from prebook.devstack.command_line import examples, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE, json_option, rate_option
from prebook.devstack.terminal import echo
from prebook.lab.load.generator import MAX_LAG_MS
from prebook.lab.load.self_test import NoArrivals, SelfTestReport, run_self_test
from prebook.lab.quantiles import format_ms

DEFAULT_RATE_PER_S = 2500.0
DEFAULT_DURATION_S = 5.0
EXAMPLES = examples("prebook load self-test", "prebook load self-test --rate 4000 --duration 10 --json")
max_lag_option = click.option(
    "--max-lag",
    type=POSITIVE,
    default=MAX_LAG_MS,
    show_default=True,
    help="Largest p99 lag in milliseconds at which a result is valid. Lag is how late requests leave.",
)


@click.command("self-test", epilog=EXAMPLES)
@rate_option("Arrivals per second.", default=DEFAULT_RATE_PER_S)
@click.option(
    "--duration", type=POSITIVE, default=DEFAULT_DURATION_S, show_default=True, help="Duration of arrivals in seconds."
)
@max_lag_option
@json_option("Print the figures as one JSON object to stdout.")
def self_test(*, rate: float, duration: float, max_lag: float, as_json: bool) -> None:
    """Send requests to a trivial local HTTP server and print how late the load generator itself is.

    Exit status 1 if the p99 lag exceeds --max-lag: at this rate, results from this machine would be invalid.
    """
    try:
        report = run_interruptible(run_self_test(rate, duration), uvloop.new_event_loop)
    except NoArrivals as error:
        raise click.UsageError(f"{error}; raise --rate or --duration") from error
    echo(msgspec.json.encode(report) if as_json else report_text(report))
    if report.lag_ms.p99 > max_lag:
        raise UserError(
            f"the p99 lag is {format_ms(report.lag_ms.p99)}, more than {format_ms(max_lag)}", "lower --rate"
        )


def report_text(report: SelfTestReport) -> str:
    """Return the figures as two lines for the terminal."""
    lag = report.lag_ms
    response = report.response_ms
    return (
        f"{report.arrivals} arrivals at {report.offered_per_s:.0f} per second ({report.planned_per_s:g} planned), "
        f"{report.accepted} accepted; {report.cpu_us:.0f} us of CPU time each.\n"
        f"Lag of requests: {format_ms(lag.p50)} (p50), {format_ms(lag.p99)} (p99), {format_ms(lag.max)} (max); "
        f"response time: {format_ms(response.p50)} (p50), {format_ms(response.p99)} (p99), "
        f"{format_ms(response.max)} (max)."
    )
