"""Experiment: throughput and latency by messages in progress. Source: Little, 1961, A Proof for the Queuing Formula."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import mean

import msgspec
import rich_click as click

from prebook.lab.background import run_in_background
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.flow_control import timed_receiver
from prebook.lab.experiments.flow_control.timed_receiver import TimedReceiverSpec
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, effect_counts, message_names
from prebook.lab.experiments.patterns.size import PatternSize, defect_option, effect_checks
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.messaging import addresses

QUEUE = "lab.in-progress"
PREFETCHES = (1, 4, 16, 64, 256)
LINEAR = "throughput >= 90 % of that of one message at a time, multiplied by the messages in progress"
TOLERANCE = 0.25
"""Allows for the round trip to the broker between two messages, which the receiver cannot measure."""
LITTLE_LAW = f"throughput x time of a message = messages in progress, within {TOLERANCE:.0%}"
MIN_LINEAR_SHARE = 0.9
REFERENCE_PREFETCH = 64
MIN_MESSAGES = 20
WORK_MS = 40.0
"""Time that the receiver waits in the middle of a message, as for a partner; its transaction takes processor time."""


class ProgressSize(PatternSize, frozen=True, kw_only=True):
    """Size of the experiment: messages for a prefetch of 64; the others get a number in proportion."""

    messages: int = 1_600


@dataclass(frozen=True)
class Pace:
    """Pace of a receiver whose queue was never empty."""

    prefetch: int
    per_s: float
    """Messages handled per second."""
    message_s: float
    """Mean time of a message, from delivery to commit."""

    @property
    def in_progress(self) -> float:
        """Messages in progress that follow from throughput and time."""
        return self.per_s * self.message_s

    @property
    def predicted_per_s(self) -> float:
        """Throughput that follows from the prefetch and the time of a message."""
        return self.prefetch / self.message_s


async def measure(run: ExperimentRun, size: ProgressSize) -> Measurement:
    """Let a receiver work off a queue with more and more messages in progress."""
    lag = TimerLag()
    paces, checks = [], list[LawCheck]()
    async with PatternSite.open(run) as site, run_in_background(lag.watch()):
        for prefetch in PREFETCHES:
            arrangement = name_of(prefetch)
            run.log(arrangement)
            names = message_names(max(MIN_MESSAGES, size.messages * prefetch // REFERENCE_PREFETCH))
            defect = size.defect if prefetch == PREFETCHES[-1] else SeededDefect.NONE
            spec = _spec(site, prefetch, defect, site.random.choice(names))
            await site.publish(addresses.REDELIVER, QUEUE, names, arrangement)
            async with site.processes(timed_receiver.run, spec):
                await site.wait_until_settled(arrangement, names, QUEUE)
            effects = await site.read_effects(arrangement)
            checks += effect_checks(arrangement, names, effect_counts(effects))
            paces.append(pace_of(prefetch, [effect.at for effect in effects], spec.read_times_s()))
    return Measurement(
        checks=[*checks, *(little_check(pace, lag.doubt) for pace in paces), linear_check(paces[0], paces[-1])],
        tables=[_table(paces)],
    )


def name_of(prefetch: int) -> str:
    """Return the name of the arrangement with ``prefetch`` messages in progress."""
    return f"{prefetch} in progress"


def pace_of(prefetch: int, handled_at: Iterable[datetime], times_s: Iterable[float]) -> Pace:
    """Return the pace between the first and the last message that was handled."""
    moments = sorted(handled_at)
    seconds = (moments[-1] - moments[0]).total_seconds()
    return Pace(prefetch, per_s=(len(moments) - 1) / seconds, message_s=mean(times_s))


def little_check(pace: Pace, doubt: str) -> LawCheck:
    """Return the check of Little's law: messages in progress = throughput x time of one."""
    error = abs(pace.in_progress / pace.prefetch - 1)
    left = ("deviation", round(error, 3))
    return check_law(LITTLE_LAW, name_of(pace.prefetch), left, Relation.AT_MOST, ("", TOLERANCE), doubt=doubt)


def linear_check(one: Pace, most: Pace) -> LawCheck:
    """Return the check that throughput is proportional to the messages in progress; a full processor ends that."""
    least = ("90 % of the multiple", round(MIN_LINEAR_SHARE * one.per_s * most.prefetch, 1))
    left = ("per second", round(most.per_s, 1))
    expected = LawVerdict.VIOLATED
    return check_law(LINEAR, name_of(most.prefetch), left, Relation.AT_LEAST, least, expected=expected)


def _spec(site: PatternSite, prefetch: int, defect: SeededDefect, defective: str) -> TimedReceiverSpec:
    plain = site.receiver_spec(
        name_of(prefetch), QUEUE, prefetch=prefetch, work_ms=WORK_MS, defect=defect, defective_message=defective
    )
    return TimedReceiverSpec(**msgspec.structs.asdict(plain), times_path=f"{plain.log_file}.times")


def _table(paces: Iterable[Pace]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Messages in progress at one receiver, while its queue is not empty",
        ("prefetch", "messages/s", "ms per message", "predicted messages/s", "throughput x time"),
        {str(pace.prefetch): pace for pace in paces},
        lambda pace: (
            f"{pace.per_s:.0f}",
            f"{1000 * pace.message_s:.1f}",
            f"{pace.predicted_per_s:.0f}",
            f"{pace.in_progress:.1f}",
        ),
        f"a message waits {WORK_MS:g} ms and commits a transaction",
    )


MESSAGES_IN_PROGRESS = Experiment(
    name="messages-in-progress",
    section=Section.CONTROL_FLOW,
    claims=("E5",),
    pattern="Little's law (Little, 1961)",
    code="shared/prebook/rabbit/consumer.py",
    claim="The number of messages in progress decides throughput and latency together, by Little's law.",
    varies="the prefetch: how many messages the receiver has in progress",
    law=f"{LITTLE_LAW}; messages without an effect or with two = 0",
    wrong_way="more messages in progress are expected to give as much more throughput",
    expected="Throughput times latency is the prefetch; beyond the capacity more of it only adds latency.",
    full=ProgressSize(),
    quick=ProgressSize(messages=400),
    options=(
        SizeOption("messages", click.IntRange(160, 20_000), "Number of messages for a prefetch of 64."),
        defect_option(),
    ),
    measure=measure,
    topology=direct_queue("one receiver", QUEUE, RECEIVER_SERVICES[0]),
    worker_modules=(timed_receiver.__name__,),
)
