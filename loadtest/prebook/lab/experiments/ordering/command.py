"""`prebook lab order`: what keeping order costs, and what not keeping it comes to."""

import logging
import sys
import time
from collections.abc import Sequence
from statistics import median

import msgspec
import rich_click as click
import structlog
from rich.console import Console
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, say
from prebook.lab.experiments.ordering.experiment import Round, rounds
from prebook.lab.experiments.ordering.strategies import PARTITIONS, Arrangement, Load
from prebook.lab.experiments.testbed import Grounded, described, grounded

MOST_MESSAGES = 20_000
EXAMPLES = examples(
    "prebook lab order",
    "prebook lab order --consumers 4 --keys 100 --rounds 5",
    "prebook lab order --json | jq '.arrangements[] | {name, violations, per_s}'",
)


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of the rounds; ``violations``, ``lost`` and ``doubled`` of all of them together."""

    name: Arrangement
    violations: int
    lost: int
    doubled: int
    per_s: float
    deliveries: float
    stood_still: float
    sharing: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    load: Load
    partitions: int
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    arrangements: list[Compared]
    rounds: list[Round]
    schema: str = "prebook.order/1"


@click.command("order", epilog=EXAMPLES)
@click.option("--keys", type=click.IntRange(2, 1000), default=40, show_default=True)
@click.option("--per-key", type=click.IntRange(2, 1000), default=20, show_default=True, help="Messages of each key.")
@click.option("--consumers", type=click.IntRange(2, 8), default=3, show_default=True, help="One of them is killed.")
@click.option("--failing", type=click.IntRange(1, 1000), default=12, show_default=True, help="So many fail at first.")
@click.option("--rounds", "count", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--seed", default=7, show_default=True, help="What decides which messages fail.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
def order(*, keys: int, per_key: int, consumers: int, failing: int, count: int, seed: int, as_json: bool) -> None:
    """Compare competing consumers, message groups and one global group under the same load.

    Some messages fail the first time, and one consumer is killed on the way. Exit status 1 where message groups or the
    global group had a violation of order, competing consumers had none, or anything was lost or doubled.

    A round takes some 20 s for each 1,000 messages, most of them in one global group, which also stands still for a
    moment with each message that fails: a minute for all as usual, 20 for three rounds of 20,000 messages, the most
    there may be.
    """
    _bounded(keys, per_key)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    load = Load(keys=keys, per_key=per_key, consumers=consumers, failing=failing, seed=seed)
    report = command_line.run(_experiment(load, count))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


def _bounded(keys: int, per_key: int) -> None:
    """Raises click.UsageError."""
    if keys * per_key > MOST_MESSAGES:
        raise click.UsageError(
            f"{keys:,} keys of {per_key:,} messages are {keys * per_key:,} messages, more than {MOST_MESSAGES:,}, "
            "with which a round takes 7 minutes; lower --keys or --per-key"
        )


async def _experiment(load: Load, count: int) -> Report:
    began = time.monotonic()
    async with grounded() as ground:
        found = await _found(ground, load, count)
        compared = [_compared(arrangement, found) for arrangement in Arrangement]
        return Report(
            load=load,
            partitions=PARTITIONS,
            stack=described(ground.parts),
            seconds=round(time.monotonic() - began, 1),
            as_expected=all(as_expected(one) for one in compared),
            arrangements=compared,
            rounds=found,
        )


async def _found(ground: Grounded, load: Load, count: int) -> list[Round]:
    for arrangement in Arrangement:
        await ground.declare(arrangement.declared(""))
    return await rounds(ground.bench, ground.parts.broker.amqp_url, load, count, say)


def as_expected(compared: Compared) -> bool:
    orderly = compared.violations > 0 if compared.name is Arrangement.NAIVE else compared.violations == 0
    return orderly and not compared.lost and not compared.doubled


def _compared(arrangement: Arrangement, found: Sequence[Round]) -> Compared:
    own = [one for one in found if one.arrangement is arrangement]
    return Compared(
        name=arrangement,
        violations=sum(one.violations for one in own),
        lost=sum(one.lost for one in own),
        doubled=sum(one.doubled for one in own),
        per_s=median(one.per_s for one in own),
        deliveries=median(one.deliveries for one in own),
        stood_still=median(one.stood_still for one in own),
        sharing=median(one.sharing for one in own),
    )


def _table(report: Report) -> Table:
    load = report.load
    caption = (
        f"{load.messages} messages of {load.keys} keys, {load.consumers} consumers of which one is killed, "
        f"{load.failing} messages fail at first; {report.partitions} partitions; seed {load.seed}; {report.seconds:g} s"
    )
    table = Table(title="Order, by arrangement: medians of the rounds", caption=caption)
    table.add_column("arrangement")
    for name in (
        "order violations",
        "messages/s",
        "deliveries",
        "lost",
        "doubled",
        "keys in the partition",
        "keys that stood still",
    ):
        table.add_column(name, justify="right")
    for one in report.arrangements:
        table.add_row(*_row(one))
    return table


def _row(one: Compared) -> Sequence[str]:
    counts = (one.violations, one.per_s, one.deliveries, one.lost, one.doubled, one.sharing, one.stood_still)
    mark = "" if as_expected(one) else " NOT AS EXPECTED"
    return (f"{one.name.replace('_', ' ')}{mark}", *(f"{count:g}" for count in counts))
