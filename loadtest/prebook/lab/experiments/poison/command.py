"""`prebook lab poison`: what one message that cannot be handled costs the others."""

import os
import platform
import sys
import time
from collections.abc import Sequence

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange, json_option, rate_option, seed_option
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


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    python: str
    cores: int
    load_average: float
    """Programs that wanted a processor in the minute before."""


class PoisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """``median_confidence``: how surely the lowest and the highest ratio have the median ratio between them."""

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
    "--messages", type=click.IntRange(20, 20_000), default=1000, show_default=True, help="On each side of each run."
)
@rate_option("Messages per second, on each side.", value_range=FiniteRange(1, 5000), default=100.0)
@click.option("--rounds", "count", type=click.IntRange(1, 50), default=5, show_default=True)
@seed_option("Seed that shuffles the runs of each round.")
@json_option()
def poison(*, messages: int, rate: float, count: int, seed: int, as_json: bool) -> None:
    """Put one poison message of each kind among many, and compare the others' times with those beside it.

    Each run has two queues with a consumer each, under the same load at the same time; one gets the poison. Exit
    status 1 where a message was not handled or not parked as it must be. Times are told, not judged.

    A round has five runs, and a run takes a little longer than --messages at --rate: five minutes for all as usual.
    """
    report = command_line.run_interruptible(
        _run_experiment(PoisonLoad(messages=messages, rate_per_s=rate, seed=seed), count)
    )
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


async def _run_experiment(load: PoisonLoad, count: int) -> PoisonReport:
    began = time.monotonic()
    machine = _read_host_info()
    async with start_testbed() as testbed:
        await testbed.declare(queue_topology(""))
        runs = await run_rounds(testbed.context, testbed.stack.broker.amqp_url, load, count, log_to_stderr)
        return PoisonReport(
            load=load,
            rounds=count,
            median_confidence=round(median_confidence(count), 4),
            max_ratio=MAX_RATIO,
            machine=machine,
            stack=stack_versions(testbed.stack),
            seconds=round(time.monotonic() - began, 1),
            as_expected=all(run.is_as_expected(load) for run in runs),
            poisons=poison_summaries(runs),
            runs=runs,
        )


def _read_host_info() -> HostInfo:
    return HostInfo(
        system=platform.platform(terse=True),
        python=platform.python_version(),
        cores=os.cpu_count() or 1,
        load_average=round(os.getloadavg()[0], 2),
    )


def _table(report: PoisonReport) -> Table:
    load = report.load
    counts = "every count as expected" if report.as_expected else "COUNTS NOT AS EXPECTED: report this, with --json"
    caption = (
        f"{load.messages} messages at {load.rate_per_s:g}/s on each side, {report.rounds} rounds, seed {load.seed}; "
        f"median (lowest to highest); {counts}; {report.seconds:g} s"
    )
    table = Table(title="One poison message, and the others", caption=caption)
    table.add_column("poison")
    table.add_column("parked as")
    for name in ("attempts", "others' p99, ms", "control p99, ms", "ratio", f"at most {MAX_RATIO}"):
        table.add_column(name, justify="right")
    for one in report.poisons:
        table.add_row(*_row(one))
    return table


def _row(one: PoisonSummary) -> Sequence[str]:
    times = (_range_text(spread) for spread in (one.others_p99_ms, one.control_p99_ms, one.ratio))
    within = "yes" if one.within_limit else "no"
    return (one.poison.replace("_", " "), one.cause or "-", str(one.attempts), *times, within)


def _range_text(spread: MedianRange) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
