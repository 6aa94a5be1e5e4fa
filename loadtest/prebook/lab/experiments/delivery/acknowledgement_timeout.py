"""Experiment: a receiver that acknowledges a message too late gets it again.

Source: RabbitMQ, Consumers, Delivery Acknowledgement Timeout; Amazon SQS, visibility timeout; EIP, Idempotent Receiver.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from prebook.devstack.servers import SupportsAcknowledgementTimeout
from prebook.lab.experiments.delivery import slow_receiver
from prebook.lab.experiments.delivery.slow_receiver import SlowReceiverSpec
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.broker_process import BROKER, BROKER_PROCESS
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import Deduplication
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, effect_counts, message_names
from prebook.lab.experiments.patterns.size import (
    NO_DUPLICATE,
    NO_LOSS,
    PATTERN_OPTIONS,
    QUICK,
    PatternSize,
    effect_checks,
)
from prebook.lab.experiments.testbed import ExperimentTestbed
from prebook.messaging import addresses
from prebook.topology.model import union

RIGHT = "an inbox knows the message"
WRONG = "no inbox"
QUEUES = {RIGHT: "lab.late.inbox", WRONG: "lab.late.none"}
SERVICES = dict(zip(QUEUES, RECEIVER_SERVICES, strict=False))
REDELIVERED = "messages acknowledged too late that are delivered again = all of them"
SLOW_MESSAGES = 2
ACKNOWLEDGEMENT_TIMEOUT_S = 0.5
LAST = "message-last"


@dataclass(frozen=True)
class LateRun:
    """Deliveries and effects at one receiver. ``deliveries``: time in seconds of each delivery, by message."""

    names: Sequence[str]
    slow: Sequence[str]
    deliveries: Mapping[str, Sequence[float]]
    effects: Counter[str]

    @property
    def again(self) -> int:
        """Number of slow messages that were delivered again."""
        return sum(len(self.deliveries.get(name, ())) > 1 for name in self.slow)

    @property
    def longest_s(self) -> float:
        """Longest time in seconds until a slow message came again; 0 if none did."""
        return max(
            (at_s[1] - at_s[0] for name in self.slow if len(at_s := self.deliveries.get(name, ())) > 1), default=0
        )


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Let two receivers, with and without an inbox, keep some messages longer than the broker allows."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site, shorten_acknowledgement_timeout(run.testbed):
        slow = site.random.sample(names, SLOW_MESSAGES)
        specs = {arrangement: _spec(site, arrangement, slow, size, names) for arrangement in QUEUES}
        run.log(f"{RIGHT}; {WRONG}")
        async with site.processes(slow_receiver.run, *specs.values()):
            for arrangement, queue in QUEUES.items():
                await site.publish(addresses.REDELIVER, queue, [*names, LAST], arrangement)
            for arrangement, queue in QUEUES.items():
                await site.wait_until_settled(arrangement, [*names, LAST], queue)
        runs = {
            arrangement: LateRun(
                names, slow, by_message(spec.read_deliveries()), effect_counts(await site.read_effects(arrangement))
            )
            for arrangement, spec in specs.items()
        }
    return Measurement(
        checks=[*late_checks(RIGHT, runs[RIGHT]), *late_checks(WRONG, runs[WRONG], duplicates=LawVerdict.VIOLATED)],
        tables=[_table(runs)],
    )


def late_checks(arrangement: str, seen: LateRun, *, duplicates: LawVerdict = LawVerdict.HELD) -> Iterable[LawCheck]:
    """Yield the checks that each slow message came again, and that each message has one effect."""
    again = ("delivered again", seen.again)
    yield check_law(REDELIVERED, arrangement, again, Relation.EQUAL, ("too late", len(seen.slow)))
    yield from effect_checks(arrangement, seen.names, seen.effects, duplicates=duplicates)


def by_message(deliveries: Iterable[tuple[float, str]]) -> Mapping[str, Sequence[float]]:
    """Return the times of the deliveries of each message, in their order."""
    times = defaultdict[str, list[float]](list)
    for at_s, name in deliveries:
        times[name].append(at_s)
    return times


@asynccontextmanager
async def shorten_acknowledgement_timeout(testbed: ExperimentTestbed) -> AsyncIterator[None]:
    """Let the broker take messages back after ACKNOWLEDGEMENT_TIMEOUT_S while the block runs. Raises UserError."""
    broker = testbed.stack.processes[BROKER]
    assert isinstance(broker, SupportsAcknowledgementTimeout)  # noqa: S101 - a prerequisite
    try:
        await broker.set_acknowledgement_timeout(ACKNOWLEDGEMENT_TIMEOUT_S)
        yield
    finally:
        await broker.set_acknowledgement_timeout(None)


def _spec(
    site: PatternSite, arrangement: str, slow: Sequence[str], size: PatternSize, names: Sequence[str]
) -> SlowReceiverSpec:
    """Return the receiver, which takes one message at a time: a returned message is handled before all others."""
    is_right = arrangement == RIGHT
    plain = site.receiver_spec(
        arrangement,
        QUEUES[arrangement],
        service=SERVICES[arrangement],
        deduplication=Deduplication.INBOX if is_right else Deduplication.NONE,
        defect=size.defect,
        defective_message=site.random.choice([name for name in names if name not in slow]) if is_right else "",
    )
    return SlowReceiverSpec(
        **msgspec.structs.asdict(plain), slow_messages=slow, deliveries_path=f"{plain.log_file}.deliveries"
    )


def _table(runs: Mapping[str, LateRun]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Effects of messages that are acknowledged too late",
        (
            "receiver",
            "messages",
            "too late",
            "delivered again",
            "after s, at most",
            "messages with more than one effect",
        ),
        runs,
        lambda own: (
            len(own.names),
            len(own.slow),
            own.again,
            f"{own.longest_s:.2f}",
            sum(own.effects[name] > 1 for name in own.names),
        ),
        f"the broker takes back what is unacknowledged for {ACKNOWLEDGEMENT_TIMEOUT_S:g} s, closes the channel, and "
        "delivers it again",
    )


ACKNOWLEDGEMENT_TIMEOUT = Experiment(
    name="acknowledgement-timeout",
    section=Section.DELIVERY,
    claims=("F8",),
    pattern="Delivery acknowledgement timeout (RabbitMQ); visibility timeout (Amazon SQS); Idempotent Receiver (EIP)",
    code="shared/prebook/postgres/inbox.py",
    claim="A message that is acknowledged too late comes again; an inbox applies it once all the same.",
    varies="whether the receiver of a message that comes again has an inbox",
    law=f"{REDELIVERED}; {NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="the receiver has no inbox, and takes the broker's redelivery for a new message",
    expected="Each message that is kept too long is delivered again; only the inbox keeps it from a second effect.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=union(direct_queue(name, queue, SERVICES[name]) for name, queue in QUEUES.items()),
    prerequisites=(BROKER_PROCESS,),
    worker_modules=(slow_receiver.__name__,),
)
