"""`prebook lab poison`: effect of one poison message on the latency of the other messages."""

import sys
import time
from collections.abc import Sequence

import msgspec
import rich_click as click
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange, json_option, rate_option, seed_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.experiments.host import HostInfo, read_host_info
from prebook.lab.experiments.poison.consumer import SERVICE
from prebook.lab.experiments.poison.experiment import run_rounds
from prebook.lab.experiments.poison.model import (
    MAX_RATIO,
    MedianRange,
    PoisonLoad,
    PoisonRun,
    PoisonSummary,
    median_confidence,
    poison_summaries,
    queue_topology,
)
from prebook.lab.experiments.testbed import stack_versions, start_testbed

EXAMPLES = examples(
    "prebook lab poison",
    "prebook lab poison --rounds 7 --rate 100",
    "prebook lab poison --json | jq '.poisons[] | {poison, attempts, ratio}'",
)
UNEXPECTED_COUNTS = "COUNTS NOT AS EXPECTED: open an issue with the output of --json"


class PoisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the experiment, as --json prints it.

    ``median_confidence`` is the probability that the median ratio lies between the lowest and the highest one.
    """

    load: PoisonLoad
    rounds: int
    median_confidence: float
    max_ratio: float
    machine: HostInfo
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    poisons: list[PoisonSummary]
    runs: list[PoisonRun]
    schema: str = "prebook.poison/1"


@click.command("poison", epilog=EXAMPLES)
@click.option(
    "--messages", type=click.IntRange(20, 20_000), default=1000, show_default=True, help="Messages per side and run."
)
@rate_option("Messages per second and side.", value_range=FiniteRange(1, 5000), default=100.0)
@click.option(
    "--rounds",
    "count",
    type=click.IntRange(1, 50),
    default=5,
    show_default=True,
    help="Number of rounds; each runs every kind of poison once.",
)
@seed_option("Seed of the order of runs in each round.")
@json_option()
def poison(*, messages: int, rate: float, count: int, seed: int, as_json: bool) -> None:
    """Publish one poison message of each kind among valid ones, and compare latencies with a side without poison.

    Each run has two queues with one consumer each, under the same load at the same time; one queue gets the poison.
    Exit status 1 if a message was not handled or not dead-lettered as expected. Latencies do not affect it.

    A round has six runs; a run takes slightly longer than --messages at --rate, and that with a message that kills its
    consumer some seconds more: six minutes in total by default. There, the latencies are those of the restarts.
    """
    report = command_line.run_interruptible(
        _run_experiment(PoisonLoad(messages=messages, rate_per_s=rate, seed=seed), count)
    )
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        PlainConsole().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


async def _run_experiment(load: PoisonLoad, count: int) -> PoisonReport:
    started_at = time.monotonic()
    machine = read_host_info()
    async with start_testbed() as testbed:
        async with testbed.isolate(queue_topology(SERVICE)):
            runs = await run_rounds(testbed.context, testbed.stack.broker.amqp_url, load, count, log_to_stderr)
        return PoisonReport(
            load=load,
            rounds=count,
            median_confidence=round(median_confidence(count), 4),
            max_ratio=MAX_RATIO,
            machine=machine,
            stack=stack_versions(testbed.stack),
            seconds=round(time.monotonic() - started_at, 1),
            as_expected=all(run.is_as_expected(load) for run in runs),
            poisons=poison_summaries(runs),
            runs=runs,
        )


def _table(report: PoisonReport) -> Table:
    load = report.load
    counts = "all counts as expected" if report.as_expected else UNEXPECTED_COUNTS
    caption = (
        f"{load.messages} messages at {load.rate_per_s:g}/s per side, {report.rounds} rounds, seed {load.seed}; "
        f"median (lowest to highest); {counts}; {report.seconds:g} s"
    )
    table = Table(title="Effect of one poison message on the others", caption=caption)
    table.add_column("poison")
    table.add_column("cause")
    for name in ("attempts", "others' p99, ms", "control p99, ms", "ratio", f"ratio <= {MAX_RATIO}"):
        table.add_column(name, justify="right")
    for summary in report.poisons:
        table.add_row(*_row(summary))
    return table


def _row(summary: PoisonSummary) -> Sequence[str]:
    ranges = (_range_text(each) for each in (summary.others_p99_ms, summary.control_p99_ms, summary.ratio))
    within = "yes" if summary.within_limit else "no"
    return (summary.poison.replace("_", " "), summary.cause or "-", str(summary.attempts), *ranges, within)


def _range_text(spread: MedianRange) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
