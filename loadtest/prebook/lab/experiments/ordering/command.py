"""`prebook lab order`: what keeping order costs, and what not keeping it comes to."""

import sys
import time
from collections.abc import Sequence
from statistics import median

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import json_option, seed_option
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
    """Medians of the rounds; ``violations``, ``lost`` and ``doubled`` of all of them together."""

    name: OrderingStrategy
    violations: int
    lost: int
    doubled: int
    messages_per_s: float
    deliveries: float
    stalled_keys: float
    partition_neighbours: float


class OrderingReport(msgspec.Struct, frozen=True, kw_only=True):
    load: OrderingLoad
    partitions: int
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    strategies: list[StrategySummary]
    rounds: list[OrderingRound]
    schema: str = "prebook.order/1"


@click.command("order", epilog=EXAMPLES)
@click.option("--keys", type=click.IntRange(2, 1000), default=40, show_default=True)
@click.option("--per-key", type=click.IntRange(2, 1000), default=20, show_default=True, help="Messages of each key.")
@click.option("--consumers", type=click.IntRange(2, 8), default=3, show_default=True, help="One of them is killed.")
@click.option(
    "--failing",
    type=click.IntRange(1, 1000),
    default=12,
    show_default=True,
    help="Number of messages that fail on the first attempt.",
)
@click.option("--rounds", "count", type=click.IntRange(1, 20), default=3, show_default=True)
@seed_option("Seed that decides which messages fail.")
@json_option()
def order(*, keys: int, per_key: int, consumers: int, failing: int, count: int, seed: int, as_json: bool) -> None:
    """Compare competing consumers, message groups and one global group under the same load.

    Some messages fail the first time, and one consumer is killed on the way. Exit status 1 where message groups or the
    global group had a violation of order, competing consumers had none, or anything was lost or doubled.

    A round takes some 20 s for each 1,000 messages, most of them in one global group, which also stands still for a
    moment with each message that fails: a minute for all as usual, 20 for three rounds of 20,000 messages, the most
    there may be.
    """
    _require_bounded_size(keys, per_key)
    load = OrderingLoad(keys=keys, per_key=per_key, consumers=consumers, failing=failing, seed=seed)
    report = command_line.run_interruptible(_run_experiment(load, count))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


def _require_bounded_size(keys: int, per_key: int) -> None:
    """Raises click.UsageError."""
    if keys * per_key > MAX_MESSAGES:
        raise click.UsageError(
            f"{keys:,} keys of {per_key:,} messages are {keys * per_key:,} messages, more than {MAX_MESSAGES:,}, "
            "with which a round takes 7 minutes; lower --keys or --per-key"
        )


async def _run_experiment(load: OrderingLoad, count: int) -> OrderingReport:
    began = time.monotonic()
    async with start_testbed() as testbed:
        found = await _run_rounds(testbed, load, count)
        compared = [_summary(strategy, found) for strategy in OrderingStrategy]
        return OrderingReport(
            load=load,
            partitions=PARTITIONS,
            stack=stack_versions(testbed.stack),
            seconds=round(time.monotonic() - began, 1),
            as_expected=all(is_as_expected(one) for one in compared),
            strategies=compared,
            rounds=found,
        )


async def _run_rounds(testbed: ExperimentTestbed, load: OrderingLoad, count: int) -> list[OrderingRound]:
    for strategy in OrderingStrategy:
        await testbed.declare(strategy.topology(""))
    return await run_rounds(testbed.context, testbed.stack.broker.amqp_url, load, count, log_to_stderr)


def is_as_expected(summary: StrategySummary) -> bool:
    orderly = (
        summary.violations > 0 if summary.name is OrderingStrategy.COMPETING_CONSUMERS else summary.violations == 0
    )
    return orderly and not summary.lost and not summary.doubled


def _summary(strategy: OrderingStrategy, found: Sequence[OrderingRound]) -> StrategySummary:
    own = [one for one in found if one.strategy is strategy]
    return StrategySummary(
        name=strategy,
        violations=sum(one.violations for one in own),
        lost=sum(one.lost for one in own),
        doubled=sum(one.doubled for one in own),
        messages_per_s=median(one.messages_per_s for one in own),
        deliveries=median(one.deliveries for one in own),
        stalled_keys=median(one.stalled_keys for one in own),
        partition_neighbours=median(one.partition_neighbours for one in own),
    )


def _table(report: OrderingReport) -> Table:
    load = report.load
    caption = (
        f"{load.messages} messages of {load.keys} keys, {load.consumers} consumers of which one is killed, "
        f"{load.failing} messages fail at first; {report.partitions} partitions; seed {load.seed}; {report.seconds:g} s"
    )
    table = Table(title="Order, by strategy: medians of the rounds", caption=caption)
    table.add_column("strategy")
    for name in (
        "order violations",
        "messages/s",
        "deliveries",
        "lost",
        "doubled",
        "partition neighbours",
        "stalled keys",
    ):
        table.add_column(name, justify="right")
    for one in report.strategies:
        table.add_row(*_row(one))
    return table


def _row(one: StrategySummary) -> Sequence[str]:
    counts = (
        one.violations,
        one.messages_per_s,
        one.deliveries,
        one.lost,
        one.doubled,
        one.partition_neighbours,
        one.stalled_keys,
    )
    mark = "" if is_as_expected(one) else " NOT AS EXPECTED"
    return (f"{one.name.replace('_', ' ')}{mark}", *(f"{count:g}" for count in counts))
