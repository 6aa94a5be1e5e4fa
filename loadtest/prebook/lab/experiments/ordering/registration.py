"""Registration of the experiment: throughput and order violations of three consumer arrangements."""

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec
import rich_click as click

from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.ordering import consumer
from prebook.lab.experiments.ordering.experiment import OrderingRound, run_rounds
from prebook.lab.experiments.ordering.strategies import PARTITIONS, OrderingLoad, OrderingStrategy
from prebook.topology.model import union

MAX_MESSAGES = 20_000
LAW = "order violations per key = 0"
COMPLETE = "messages without exactly one effect = 0"


class OrderingSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: messages, consumers, intended failures and rounds."""

    keys: int = 40
    per_key: int = 20
    consumers: int = 3
    failing: int = 12
    rounds: int = 3


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


class OrderingDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details of the result, as --json prints them."""

    load: OrderingLoad
    partitions: int
    strategies: list[StrategySummary]
    rounds: list[OrderingRound]


async def measure(run: ExperimentRun, size: OrderingSize) -> Measurement:
    """Run every arrangement in every round, and check the order that each has kept."""
    load = OrderingLoad(
        keys=size.keys, per_key=size.per_key, consumers=size.consumers, failing=size.failing, seed=run.seed
    )
    testbed = run.testbed
    rounds = await run_rounds(testbed.context, testbed.stack.broker.amqp_url, load, size.rounds, run.log)
    summaries = [_summary(strategy, rounds) for strategy in OrderingStrategy]
    return Measurement(
        checks=[check for summary in summaries for check in order_checks(summary)],
        tables=[_table(load, summaries)],
        details=OrderingDetails(load=load, partitions=PARTITIONS, strategies=summaries, rounds=rounds),
    )


def order_checks(summary: StrategySummary) -> Iterable[LawCheck]:
    """Yield the checks of an arrangement: only competing consumers are to violate the order; none may lose messages."""
    name = summary.name.replace("_", " ")
    is_wrong_way = summary.name is OrderingStrategy.COMPETING_CONSUMERS
    expected = LawVerdict.VIOLATED if is_wrong_way else LawVerdict.HELD
    yield check_law(LAW, name, ("order violations", summary.violations), Relation.EQUAL, ("", 0), expected=expected)
    lost_or_doubled = ("lost or duplicated messages", summary.lost + summary.duplicated)
    yield check_law(COMPLETE, name, lost_or_doubled, Relation.EQUAL, ("", 0))


def size_problem(size: OrderingSize) -> str:
    """Return why the load is too large, or an empty text."""
    messages = size.keys * size.per_key
    if messages <= MAX_MESSAGES:
        return ""
    return (
        f"{size.keys:,} keys of {size.per_key:,} messages are {messages:,} messages, more than {MAX_MESSAGES:,}, which "
        "take 7 minutes per round; lower --keys or --per-key"
    )


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


def _table(load: OrderingLoad, summaries: Sequence[StrategySummary]) -> ResultTable:
    return ResultTable(
        title="Message order by consumer arrangement: medians of all rounds",
        columns=(
            "arrangement",
            "order violations",
            "messages/s",
            "deliveries",
            "lost",
            "duplicated",
            "partition neighbours",
            "stalled keys",
        ),
        rows=tuple(_row(summary) for summary in summaries),
        caption=f"{load.messages} messages with {load.keys} keys, {load.consumers} consumers, one of them killed, "
        f"{load.failing} messages fail on the first attempt; {PARTITIONS} partitions",
    )


def _row(summary: StrategySummary) -> tuple[str, ...]:
    counts = (
        summary.violations,
        summary.messages_per_s,
        summary.deliveries,
        summary.lost,
        summary.duplicated,
        summary.partition_neighbours,
        summary.stalled_keys,
    )
    return (summary.name.replace("_", " "), *(f"{count:g}" for count in counts))


ORDER = Experiment(
    name="order",
    section=Section.ORDERING,
    claims=("F1", "F2", "F4", "F5"),
    pattern="Message sequence by group (JMS message groups; EIP, Competing Consumers)",
    code="shared/prebook/patterns/message_groups.py",
    claim="Competing consumers violate the order of messages; message groups keep it, across retries and a kill.",
    varies="the consumer arrangement: competing consumers, message groups, one global group",
    law=f"{LAW}; {COMPLETE}",
    wrong_way="competing consumers on one queue: a message overtakes one that is being handled or retried",
    expected="Competing consumers violate the order. Groups keep it, and one global group does so at the lowest rate.",
    full=OrderingSize(),
    quick=OrderingSize(keys=12, per_key=8, failing=4, rounds=1),
    options=(
        SizeOption("keys", click.IntRange(2, 1000), "Number of ordering keys."),
        SizeOption("per_key", click.IntRange(2, 1000), "Number of messages per key."),
        SizeOption("consumers", click.IntRange(2, 8), "Number of consumers; one is killed."),
        SizeOption("failing", click.IntRange(1, 1000), "Number of messages that fail on the first attempt."),
        SizeOption("rounds", click.IntRange(1, 20), "Number of rounds; each runs every arrangement once."),
    ),
    size_problem=size_problem,
    measure=measure,
    worker_modules=(consumer.__name__,),
    topology=union(strategy.topology("") for strategy in OrderingStrategy),
)
