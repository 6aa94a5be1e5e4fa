"""Experiment: Publish-Subscribe Channel. Source: EIP, Publish-Subscribe Channel."""

from collections import Counter
from collections.abc import Mapping

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import EVENT_KEY, direct_queue, subscriptions
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, Effect, PatternSite, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, QUICK, PatternSize
from prebook.messaging import addresses

SHARED_QUEUE = "lab.subscribe.shared"
EXCHANGE = "lab.subscribe.events"
OWN_QUEUES = {f"lab.subscribe.{service}": service for service in RECEIVER_SERVICES}
RIGHT = "a queue per subscriber"
WRONG = "all subscribers on one queue"
NO_MISS = "events that a subscriber has not received = 0"
NO_REPEAT = "events that a subscriber has applied more than once = 0"
Received = Mapping[str, Counter[str]]
"""Subscriber -> number of effects of each event."""


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Publish events to three subscribers, one of which is killed and restarted; then to one shared queue."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        run.log(RIGHT)
        separate = await _subscribe_each(site, names, size)
        run.log(WRONG)
        shared = await _share(site, names)
    return Measurement(
        checks=[
            miss_check(RIGHT, names, separate, LawVerdict.HELD),
            repeat_check(RIGHT, separate),
            miss_check(WRONG, names, shared, LawVerdict.VIOLATED),
            repeat_check(WRONG, shared),
        ],
        tables=[_table(names, {RIGHT: separate, WRONG: shared})],
    )


def miss_check(arrangement: str, names: list[str], received: Received, expected: LawVerdict) -> LawCheck:
    """Return the check that every subscriber has every event."""
    missed = sum(not received[subscriber][name] for subscriber in RECEIVER_SERVICES for name in names)
    return check_law(NO_MISS, arrangement, ("missed", missed), Relation.EQUAL, ("", 0), expected=expected)


def repeat_check(arrangement: str, received: Received) -> LawCheck:
    """Return the check that no subscriber has applied an event twice."""
    repeated = sum(count > 1 for own in received.values() for count in own.values())
    return check_law(NO_REPEAT, arrangement, ("repeated", repeated), Relation.EQUAL, ("", 0))


async def _subscribe_each(site: PatternSite, names: list[str], size: PatternSize) -> Received:
    """Kill one subscriber on the way; restart it when the others have everything."""
    defective = site.random.choice(names)
    specs = [
        site.receiver_spec(
            RIGHT,
            queue,
            service=service,
            defect=size.defect,
            defective_message=defective if service == RECEIVER_SERVICES[1] else "",
        )
        for queue, service in OWN_QUEUES.items()
    ]
    victim = specs[0]
    async with site.receivers(*specs[1:]):
        async with site.receivers(victim) as (process,):
            await site.publish(EXCHANGE, EVENT_KEY, names, RIGHT)
            await site.wait_for_effects(RIGHT, names, site.random.uniform(0.2, 0.5), victim.receiver)
            process.kill()
            process.join()
        for spec in specs[1:]:
            await site.wait_until_settled(RIGHT, names, spec.queue, spec.receiver)
        async with site.receivers(victim):
            await site.wait_until_settled(RIGHT, names, victim.queue, victim.receiver)
    return _by_subscriber(await site.read_effects(RIGHT))


async def _share(site: PatternSite, names: list[str]) -> Received:
    specs = [site.receiver_spec(WRONG, SHARED_QUEUE, service=service) for service in RECEIVER_SERVICES]
    async with site.receivers(*specs):
        await site.publish(addresses.REDELIVER, SHARED_QUEUE, names, WRONG)
        await site.wait_until_settled(WRONG, names, SHARED_QUEUE)
    return _by_subscriber(await site.read_effects(WRONG))


def _by_subscriber(effects: list[Effect]) -> Received:
    return {
        service: Counter(each.message for each in effects if each.receiver == service) for service in RECEIVER_SERVICES
    }


def _table(names: list[str], received: Mapping[str, Received]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Events received by each of three subscribers",
        ("arrangement", "events", *RECEIVER_SERVICES),
        received,
        lambda own: (len(names), *(len(own[service]) for service in RECEIVER_SERVICES)),
        f"{RECEIVER_SERVICES[0]} is killed on the way and restarted when the others have every event",
    )


PUBLISH_SUBSCRIBE = Experiment(
    name="publish-subscribe",
    section=Section.PATTERNS,
    claims=("C3", "A3"),
    pattern="Publish-Subscribe Channel (EIP)",
    code="shared/prebook/coupling/one_way.py",
    claim="With a queue per subscriber, every subscriber has every event, also one that was away.",
    varies="whether three subscribers have a queue each or share one; one is killed and restarted",
    law=f"{NO_MISS}; {NO_REPEAT}",
    wrong_way="all subscribers consume from one queue, so each has a share of the events",
    expected="With a queue each, nobody misses an event; on one queue, all of them do.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=subscriptions(RIGHT, EXCHANGE, OWN_QUEUES) | direct_queue(WRONG, SHARED_QUEUE, RECEIVER_SERVICES[0]),
    worker_modules=(receiver.__name__,),
)
