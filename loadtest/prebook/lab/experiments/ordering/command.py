"""`prebook lab order`: throughput and order violations of three consumer arrangements."""

import sys
import time
from collections.abc import Sequence
from statistics import median

import msgspec
import rich_click as click
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import json_option, seed_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.experiments.ordering.experiment import OrderingRound, run_rounds
from prebook.lab.experiments.ordering.strategies import PARTITIONS, OrderingLoad, OrderingStrategy
from prebook.lab.experiments.testbed import ExperimentTestbed, stack_versions, start_testbed

MAX_MESSAGES = 20_000
EXAMPLES = examples(
    "prebook lab order",
    "prebook lab order --consumers 4 --keys 100 --rounds 5",
    "prebook lab order --json | jq '.strategies[] | {name, violations, messages_per_s}'",
)


class StrategySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over all rounds; ``violations``, ``lost`` and ``duplicated`` are sums."""

    name: OrderingStrategy
    violations: int
    lost: int
    duplicated: int
    messages_per_s: float
    deliveries: float
    stalled_keys: float
    partition_neighbours: float


class OrderingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the experiment, as --json prints it."""

    load: OrderingLoad
    partitions: int
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    strategies: list[StrategySummary]
    rounds: list[OrderingRound]
    schema: str = "prebook.order/1"


@click.command("order", epilog=EXAMPLES)
@click.option("--keys", type=click.IntRange(2, 1000), default=40, show_default=True, help="Number of ordering keys.")
@click.option(
    "--per-key", type=click.IntRange(2, 1000), default=20, show_default=True, help="Number of messages per key."
)
@click.option(
    "--consumers", type=click.IntRange(2, 8), default=3, show_default=True, help="Number of consumers; one is killed."
)
@click.option(
    "--failing",
    type=click.IntRange(1, 1000),
    default=12,
    show_default=True,
    help="Number of messages that fail on the first attempt.",
)
@click.option(
    "--rounds",
    "count",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Number of rounds; each runs every arrangement once.",
)
@seed_option("Seed that selects the messages that fail.")
@json_option()
def order(*, keys: int, per_key: int, consumers: int, failing: int, count: int, seed: int, as_json: bool) -> None:
    """Compare competing consumers, message groups and one global group under the same load.

    Some messages fail on the first attempt, and one consumer is killed during the run. Exit status 1 if message groups
    or the global group violated the order, competing consumers did not, or an effect was lost or duplicated.

    A round takes about 20 s per 1,000 messages, mostly in the global group, which also pauses for each failing message:
    one minute by default, 20 minutes for the maximum of three rounds of 20,000 messages.
    """
    _require_bounded_size(keys, per_key)
    load = OrderingLoad(keys=keys, per_key=per_key, consumers=consumers, failing=failing, seed=seed)
    report = command_line.run_interruptible(_run_experiment(load, count))
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        PlainConsole().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


def _require_bounded_size(keys: int, per_key: int) -> None:
    """Raise click.UsageError if the load exceeds MAX_MESSAGES."""
    if keys * per_key > MAX_MESSAGES:
        raise click.UsageError(
            f"{keys:,} keys of {per_key:,} messages are {keys * per_key:,} messages, more than {MAX_MESSAGES:,}, "
            "which take 7 minutes per round; lower --keys or --per-key"
        )


async def _run_experiment(load: OrderingLoad, count: int) -> OrderingReport:
    started_at = time.monotonic()
    async with start_testbed() as testbed:
        rounds = await _run_rounds(testbed, load, count)
        summaries = [_summary(strategy, rounds) for strategy in OrderingStrategy]
        return OrderingReport(
            load=load,
            partitions=PARTITIONS,
            stack=stack_versions(testbed.stack),
            seconds=round(time.monotonic() - started_at, 1),
            as_expected=all(is_as_expected(summary) for summary in summaries),
            strategies=summaries,
            rounds=rounds,
        )


async def _run_rounds(testbed: ExperimentTestbed, load: OrderingLoad, count: int) -> list[OrderingRound]:
    for strategy in OrderingStrategy:
        await testbed.declare(strategy.topology(""))
    return await run_rounds(testbed.context, testbed.stack.broker.amqp_url, load, count, log_to_stderr)


def is_as_expected(summary: StrategySummary) -> bool:
    """Return whether competing consumers violated the order, groups did not, and nothing was lost or duplicated."""
    order_as_expected = (
        summary.violations > 0 if summary.name is OrderingStrategy.COMPETING_CONSUMERS else summary.violations == 0
    )
    return order_as_expected and not summary.lost and not summary.duplicated


def _summary(strategy: OrderingStrategy, rounds: Sequence[OrderingRound]) -> StrategySummary:
    own_rounds = [each for each in rounds if each.strategy is strategy]
    return StrategySummary(
        name=strategy,
        violations=sum(each.violations for each in own_rounds),
        lost=sum(each.lost for each in own_rounds),
        duplicated=sum(each.duplicated for each in own_rounds),
        messages_per_s=median(each.messages_per_s for each in own_rounds),
        deliveries=median(each.deliveries for each in own_rounds),
        stalled_keys=median(each.stalled_keys for each in own_rounds),
        partition_neighbours=median(each.partition_neighbours for each in own_rounds),
    )


def _table(report: OrderingReport) -> Table:
    load = report.load
    caption = (
        f"{load.messages} messages with {load.keys} keys, {load.consumers} consumers, one of them killed, "
        f"{load.failing} messages fail on the first attempt; {report.partitions} partitions; "
        f"seed {load.seed}; {report.seconds:g} s"
    )
    table = Table(title="Message order by consumer arrangement: medians of all rounds", caption=caption)
    table.add_column("strategy")
    for name in (
        "order violations",
        "messages/s",
        "deliveries",
        "lost",
        "duplicated",
        "partition neighbours",
        "stalled keys",
    ):
        table.add_column(name, justify="right")
    for summary in report.strategies:
        table.add_row(*_row(summary))
    return table


def _row(summary: StrategySummary) -> Sequence[str]:
    counts = (
        summary.violations,
        summary.messages_per_s,
        summary.deliveries,
        summary.lost,
        summary.duplicated,
        summary.partition_neighbours,
        summary.stalled_keys,
    )
    mark = "" if is_as_expected(summary) else " NOT AS EXPECTED"
    name = summary.name.replace("_", " ")
    return (f"{name}{mark}", *(f"{count:g}" for count in counts))
