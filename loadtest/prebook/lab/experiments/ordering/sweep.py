"""Experiment: order and throughput by number of groups and consumers, with uniform and hot keys.

Source: JMS, message groups; Amazon SQS, FIFO message groups; EIP, Competing Consumers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import aio_pika
import rich_click as click
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from prebook.devstack.polling import wait_until
from prebook.lab.background import run_in_background
from prebook.lab.experiments.drawing import message_path
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultPicture,
    ResultTable,
    Section,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.ordering.groups import Arrangement, Prediction, predict
from prebook.lab.experiments.ordering.registration import COMPLETE, LAW
from prebook.lab.experiments.ordering.sequence import (
    KeyDistribution,
    MessageSequence,
    count_incomplete,
    count_overtaking,
    count_overtaking_by_key,
    draw_sequence,
    throughput,
)
from prebook.lab.experiments.ordering.timeline import timeline
from prebook.lab.experiments.ordering.workers import Effect, Workers
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.size import LOSE_ONLY, PatternSize, defect_option
from prebook.lab.experiments.testbed import RETRY_HINT
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.topology.model import union

CONSUMERS = 8
MEAN_WORK_S = 0.008
COMPETING = Arrangement(KeyDistribution.UNIFORM, CONSUMERS)
HOT_COMPETING = Arrangement(KeyDistribution.HOT, CONSUMERS)
PARALLEL = Arrangement(KeyDistribution.UNIFORM, CONSUMERS, 8)
MOST_GROUPS = Arrangement(KeyDistribution.UNIFORM, CONSUMERS, 64)
ARRANGEMENTS = (
    COMPETING,
    Arrangement(KeyDistribution.UNIFORM, 1),
    *(Arrangement(KeyDistribution.UNIFORM, CONSUMERS, partitions) for partitions in (1, 2, 4)),
    PARALLEL,
    *(Arrangement(KeyDistribution.UNIFORM, CONSUMERS, partitions) for partitions in (16, 32)),
    MOST_GROUPS,
    HOT_COMPETING,
    Arrangement(KeyDistribution.HOT, CONSUMERS, 8),
    Arrangement(KeyDistribution.HOT, CONSUMERS, 64),
    Arrangement(KeyDistribution.ONE, CONSUMERS, 8),
)
GLOBAL_LAW = "order violations over all keys = 0"
BOUND = "throughput <= min(groups, consumers) / work of a message"
PREDICTED = "throughput >= 3/4 of that predicted from the busiest consumer"
LINEAR = "throughput >= 3/4 of that of one group, multiplied by the groups"
MIN_SHARE = 0.75
MAX_LONGER = 0.25
"""Share by which the work may take longer than planned on a machine that is not too busy."""
PICTURED = 48
"""Number of messages in the picture."""
PUBLISH_BATCH_SIZE = 50
DRAIN_TIMEOUT_S = 120.0


class SweepSize(PatternSize, frozen=True, kw_only=True):
    """Size of the experiment: messages of each arrangement, and their ordering keys."""

    messages: int = 1_200
    keys: int = 64


@dataclass(frozen=True)
class SweepRun:
    """Effects of one arrangement."""

    arrangement: Arrangement
    sequence: MessageSequence
    effects: Sequence[Effect]

    @property
    def per_s(self) -> float:
        """Effects per second."""
        return throughput(self.effects)

    @property
    def prediction(self) -> Prediction:
        """Throughput that follows from the arrangement, the keys, and the measured work on each message."""
        return predict(self.arrangement, self.sequence.as_measured(self.effects))

    @property
    def doubt(self) -> str:
        """Reason why the machine was too busy to judge the throughput; empty if it was not."""
        longer = self.sequence.as_measured(self.effects).mean_work_s / self.sequence.mean_work_s - 1
        return f"the machine was too busy: work took {longer:.0%} longer than planned" if longer > MAX_LONGER else ""

    @property
    def violations(self) -> int:
        """Order violations within the keys."""
        return count_overtaking_by_key(self.effects, self.sequence.keys)

    @property
    def global_violations(self) -> int:
        """Order violations over all keys."""
        return count_overtaking(effect.position for effect in self.effects)

    @property
    def keeps_global_order(self) -> bool:
        """Whether one consumer has all messages, one after the other."""
        return self.prediction.groups == 1


async def measure(run: ExperimentRun, size: SweepSize) -> Measurement:
    """Let each arrangement work off a sequence that is in its queues when it starts."""
    lag = TimerLag()
    runs = dict[Arrangement, SweepRun]()
    async with (
        await aio_pika.connect(run.testbed.stack.broker.amqp_url) as connection,
        run_in_background(lag.watch()),
    ):
        for arrangement in ARRANGEMENTS:
            run.log(arrangement.name)
            sequence = draw_sequence(
                arrangement.keys,
                messages=size.messages,
                keys=size.keys,
                mean_work_s=MEAN_WORK_S,
                rng=Random(run.seed),
            )
            is_defective = arrangement == PARALLEL and size.defect is SeededDefect.LOSE
            workers = Workers(sequence.work_s, read_position, lost=size.messages // 2 if is_defective else -1)
            await _work_off(connection, arrangement, sequence, workers)
            runs[arrangement] = SweepRun(arrangement, sequence, workers.effects)
    return Measurement(
        checks=[
            *(check for seen in runs.values() for check in sweep_checks(seen, lag.doubt)),
            linear_check(runs[MOST_GROUPS]),
        ],
        tables=[_table(runs)],
        pictures=[_picture(runs[PARALLEL])],
    )


def sweep_checks(seen: SweepRun, doubt: str) -> list[LawCheck]:
    """Return the checks of one arrangement: order, completeness and throughput."""
    name = seen.arrangement.name
    is_competing = not seen.arrangement.partitions and seen.arrangement.consumers > 1
    wrong = LawVerdict.VIOLATED
    violations = ("order violations", seen.violations)
    checks = [
        check_law(LAW, name, violations, Relation.EQUAL, ("", 0), expected=wrong if is_competing else LawVerdict.HELD),
        check_law(
            COMPLETE,
            name,
            ("messages", count_incomplete(seen.effects, len(seen.sequence.keys))),
            Relation.EQUAL,
            ("", 0),
        ),
    ]
    if seen.keeps_global_order or seen.arrangement == PARALLEL:
        expected = LawVerdict.HELD if seen.keeps_global_order else wrong
        everywhere = ("order violations", seen.global_violations)
        checks.append(check_law(GLOBAL_LAW, name, everywhere, Relation.EQUAL, ("", 0), expected=expected))
    if seen.arrangement.partitions:
        checks += _throughput_checks(seen, doubt)
    return checks


def _throughput_checks(seen: SweepRun, doubt: str) -> list[LawCheck]:
    name = seen.arrangement.name
    per_s = ("per second", round(seen.per_s, 1))
    bound = ("bound", round(seen.prediction.bound, 1))
    least = ("3/4 of the prediction", round(MIN_SHARE * seen.prediction.expected, 1))
    return [
        check_law(BOUND, name, per_s, Relation.AT_MOST, bound),
        check_law(PREDICTED, name, per_s, Relation.AT_LEAST, least, doubt=doubt or seen.doubt),
    ]


def linear_check(seen: SweepRun) -> LawCheck:
    """Return the check that throughput is proportional to the groups, which ends at the number of consumers."""
    one_group = 1 / seen.sequence.as_measured(seen.effects).mean_work_s
    least = ("3/4 of the multiple", round(MIN_SHARE * one_group * seen.arrangement.partitions, 1))
    left = ("per second", round(seen.per_s, 1))
    return check_law(LINEAR, seen.arrangement.name, left, Relation.AT_LEAST, least, expected=LawVerdict.VIOLATED)


def read_position(message: AbstractIncomingMessage) -> int:
    """Return the position of a message in its sequence."""
    return int(message.body)


async def _work_off(
    connection: AbstractConnection, arrangement: Arrangement, sequence: MessageSequence, workers: Workers
) -> None:
    """Publish the sequence to the queues of an arrangement, and let its consumers handle all of it."""

    async def are_acknowledged() -> bool:
        return workers.acknowledged >= len(sequence.keys)

    async with _declare_queues(connection, arrangement) as queues:
        await _publish(connection, arrangement, sequence, queues)
        async with workers.consume(connection, queues, arrangement.consumers):
            await wait_until(are_acknowledged, DRAIN_TIMEOUT_S, subject=arrangement.name, remedy=RETRY_HINT)


@asynccontextmanager
async def _declare_queues(connection: AbstractConnection, arrangement: Arrangement) -> AsyncIterator[list[str]]:
    """Declare queues that only this connection uses, and delete them after the block."""
    async with connection.channel() as channel:
        queues = [
            await channel.declare_queue(
                exclusive=True, arguments={"x-single-active-consumer": True} if arrangement.partitions else {}
            )
            for _ in range(arrangement.partitions or 1)
        ]
        yield [queue.name for queue in queues]
        for queue in queues:
            await channel.queue_delete(queue.name)


async def _publish(
    connection: AbstractConnection, arrangement: Arrangement, sequence: MessageSequence, queues: Sequence[str]
) -> None:
    async with connection.channel() as channel:
        exchange = channel.default_exchange

        async def publish(position: int) -> None:
            key = sequence.keys[position]
            queue = queues[arrangement.partition_of(key) if arrangement.partitions else 0]
            await exchange.publish(aio_pika.Message(str(position).encode()), queue)

        positions = range(len(sequence.keys))
        for start in positions[::PUBLISH_BATCH_SIZE]:
            await asyncio.gather(*map(publish, positions[start:][:PUBLISH_BATCH_SIZE]))


def _table(runs: Mapping[Arrangement, SweepRun]) -> ResultTable:
    def cells(seen: SweepRun) -> Sequence[object]:
        prediction = seen.prediction
        competing = runs[HOT_COMPETING if seen.arrangement.keys is KeyDistribution.HOT else COMPETING]
        return (
            seen.arrangement.consumers,
            prediction.groups,
            seen.violations,
            seen.global_violations,
            f"{seen.per_s:.0f}",
            f"{prediction.expected:.0f}",
            f"{prediction.bound:.0f}",
            f"{seen.per_s / competing.per_s:.2f}",
            prediction.limit,
        )

    return ResultTable.by_arrangement(
        "Order and throughput by number of groups",
        (
            "arrangement",
            "consumers",
            "groups",
            "order violations per key",
            "over all keys",
            "messages/s",
            "predicted",
            "min(groups, consumers) / work",
            "of competing consumers",
            "limited by",
        ),
        {seen.arrangement.name: seen for seen in runs.values()},
        cells,
        f"work on a message takes 0 to {2000 * MEAN_WORK_S:g} ms; a consumer works on one message at a time",
    )


def _picture(seen: SweepRun) -> ResultPicture:
    """Return the timeline of the first messages."""
    keys, arrangement = seen.sequence.keys, seen.arrangement
    title = f"First {PICTURED} effects with {arrangement.name}: in order in each group, not in the global order"
    svg = timeline(title, seen.effects[:PICTURED], lambda position: arrangement.partition_of(keys[position]))
    return ResultPicture(title=title, svg=svg)


ORDER_SWEEP = Experiment(
    name="order-sweep",
    section=Section.ORDERING,
    claims=("F1", "F2", "F3", "F4", "F5"),
    pattern="Message sequence by group (JMS message groups; EIP, Competing Consumers)",
    code="shared/prebook/patterns/message_groups.py",
    claim="Groups keep the order of each key, and give as much throughput as there are groups and consumers for them.",
    varies="competing consumers, one consumer, 1 to 64 groups, one key; keys that occur equally often, and hot ones",
    law=f"{LAW}; {COMPLETE}; {GLOBAL_LAW} with one group; {BOUND}; {PREDICTED}",
    wrong_way="competing consumers on one queue; a global order from several groups; more groups than consumers",
    expected="No group violates its order; a global order costs all parallelism, and a hot key limits it.",
    full=SweepSize(),
    quick=SweepSize(messages=120, keys=24),
    options=(
        SizeOption("messages", click.IntRange(100, 20_000), "Number of messages of each arrangement."),
        SizeOption("keys", click.IntRange(8, 1_000), "Number of ordering keys."),
        defect_option(LOSE_ONLY, "a message is acknowledged without an effect"),
    ),
    measure=measure,
    topology=union(
        message_path(name, "lab", "(default)", queue, "consumers")
        for name, queue in (("competing consumers", "one queue"), ("groups", "a queue per group"))
    ),
)
