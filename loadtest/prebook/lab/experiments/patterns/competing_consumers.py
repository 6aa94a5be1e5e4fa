"""Experiment: Competing Consumers. Source: EIP, Competing Consumers."""

from collections import Counter
from collections.abc import Mapping

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import EVENT_KEY, direct_queue, subscriptions
from prebook.lab.experiments.patterns.site import (
    RECEIVER_SERVICES,
    PatternSite,
    effect_counts,
    message_names,
)
from prebook.lab.experiments.patterns.size import (
    NO_DUPLICATE,
    NO_LOSS,
    PATTERN_OPTIONS,
    QUICK,
    PatternSize,
    effect_checks,
)
from prebook.messaging import addresses

QUEUE = "lab.competing.shared"
EXCHANGE = "lab.competing.events"
OWN_QUEUES = {f"lab.competing.{service}": service for service in RECEIVER_SERVICES}
RIGHT = "consumers compete on one queue"
WRONG = "each consumer has a subscription of its own"
CONSUMERS = 3
LAST = "message-last"


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Let three consumers share the work, one of which is killed; then give each a queue of its own."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        run.log(RIGHT)
        shared = await _compete(site, names, size)
        run.log(WRONG)
        separate = await _subscribe_each(site, names)
    return Measurement(
        checks=[
            *effect_checks(RIGHT, names, shared),
            *effect_checks(WRONG, names, separate, duplicates=LawVerdict.VIOLATED),
        ],
        tables=[_table(names, {RIGHT: shared, WRONG: separate})],
    )


async def _compete(site: PatternSite, names: list[str], size: PatternSize) -> Counter[str]:
    """Kill one of the consumers on the way.

    The broker returns its messages to the head of the queue, so the last one comes after all others.
    """
    defective = site.random.choice(names)
    specs = [
        site.receiver_spec(
            RIGHT, QUEUE, receiver=f"consumer {number}", prefetch=4, defect=size.defect, defective_message=defective
        )
        for number in range(CONSUMERS)
    ]
    async with site.receivers(*specs) as processes:
        await site.publish(addresses.REDELIVER, QUEUE, names, RIGHT)
        await site.wait_for_effects(RIGHT, names, site.random.uniform(0.2, 0.5))
        processes[0].kill()
        processes[0].join()
        await site.publish(addresses.REDELIVER, QUEUE, [LAST], RIGHT)
        await site.wait_until_settled(RIGHT, [*names, LAST], QUEUE)
    return effect_counts(await site.read_effects(RIGHT))


async def _subscribe_each(site: PatternSite, names: list[str]) -> Counter[str]:
    specs = [site.receiver_spec(WRONG, queue, service=service) for queue, service in OWN_QUEUES.items()]
    async with site.receivers(*specs):
        await site.publish(EXCHANGE, EVENT_KEY, names, WRONG)
        for queue, service in OWN_QUEUES.items():
            await site.wait_until_settled(WRONG, names, queue, service)
    return effect_counts(await site.read_effects(WRONG))


def _table(names: list[str], counts: Mapping[str, Counter[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Effects of messages with three consumers",
        ("arrangement", "messages", "effects"),
        counts,
        lambda own: (len(names), sum(own[each] for each in names)),
        "one of the competing consumers is killed on the way",
    )


COMPETING_CONSUMERS = Experiment(
    name="competing-consumers",
    section=Section.PATTERNS,
    claims=("F1",),
    pattern="Competing Consumers (EIP)",
    code="shared/prebook/rabbit/consumer.py",
    claim="Consumers that compete on one queue share its messages: exactly one of them handles each.",
    varies="whether three consumers share a queue or have one each; a competing one is killed",
    law=f"{NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="each consumer has a subscription of its own, so each message is handled three times",
    expected="Sharing a queue, the consumers handle each message once; with a queue each, three times.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=direct_queue(RIGHT, QUEUE, RECEIVER_SERVICES[0]) | subscriptions(WRONG, EXCHANGE, OWN_QUEUES),
    worker_modules=(receiver.__name__,),
)
