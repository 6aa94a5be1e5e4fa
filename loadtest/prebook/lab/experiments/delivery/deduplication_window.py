"""Experiment: operations that are repeated inside and outside of their sender's deduplication window.

Source: Amazon SQS, deduplication interval of FIFO queues; EIP, Idempotent Receiver.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from prebook.lab.experiments.delivery.windowed_sender import SERVICE as SENDER
from prebook.lab.experiments.delivery.windowed_sender import WindowedSender
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import subscriptions
from prebook.lab.experiments.patterns.receiver import Deduplication, ReceiverSpec, SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, effect_counts, message_names
from prebook.lab.experiments.patterns.size import (
    NO_DUPLICATE,
    NO_LOSS,
    PATTERN_OPTIONS,
    QUICK,
    PatternSize,
    effect_checks,
)
from prebook.messaging import addresses

RIGHT = "an inbox behind the window"
WRONG = "no inbox behind the window"
QUEUES = {RIGHT: "lab.window.inbox", WRONG: "lab.window.none"}
SERVICES = {RIGHT: "pricing", WRONG: "notification"}
SUPPRESSED = "messages published again inside the window = 0"
PASSED = "messages published again outside the window = operations"
RUN = "window"
LAST = "message-last"


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Repeat operations inside the window, end it, and repeat them again; receivers with and without an inbox."""
    names = message_names(size.messages)
    url = run.testbed.context.envs[SENDER]["PREBOOK_DATABASE_URL"]
    async with PatternSite.open(run) as site:
        sender = WindowedSender(url, site.publisher)
        defective = site.random.choice(names)
        async with sender.relaying():
            run.log("first, and again inside the window")
            async with site.receivers(*_specs(site, size.defect, defective)):
                await sender.send(names, RUN)
                first = sender.published
                await sender.send(names, RUN)
                inside = sender.published - first
                for arrangement, queue in QUEUES.items():
                    await site.wait_until_settled(RUN, names, queue, SERVICES[arrangement])
            run.log("again outside of the window")
            await sender.end_window()
            async with site.receivers(*_specs(site, size.defect, defective)):
                await sender.send(names, RUN)
                outside = sender.published - first - inside
                await sender.send([LAST], RUN)
                for arrangement, queue in QUEUES.items():
                    await site.wait_until_settled(RUN, [LAST], queue, SERVICES[arrangement])
        effects = await site.read_effects(RUN)
    counts = {
        arrangement: effect_counts(each for each in effects if each.receiver == service)
        for arrangement, service in SERVICES.items()
    }
    return Measurement(
        checks=[
            check_law(SUPPRESSED, "the outbox", ("published again", inside), Relation.EQUAL, ("", 0)),
            check_law(PASSED, "the outbox", ("published again", outside), Relation.EQUAL, ("operations", len(names))),
            *effect_checks(RIGHT, names, counts[RIGHT]),
            *effect_checks(WRONG, names, counts[WRONG], duplicates=LawVerdict.VIOLATED),
        ],
        tables=[_table(names, counts, {"inside": inside, "outside": outside})],
    )


def _specs(site: PatternSite, defect: SeededDefect, defective: str) -> list[ReceiverSpec]:
    """Return the receivers. Without an inbox, a receiver forgets all messages when it is restarted."""
    with_inbox = site.receiver_spec(
        RUN, QUEUES[RIGHT], service=SERVICES[RIGHT], defect=defect, defective_message=defective
    )
    without = site.receiver_spec(RUN, QUEUES[WRONG], service=SERVICES[WRONG], deduplication=Deduplication.IN_MEMORY)
    return [with_inbox, without]


def _table(names: Sequence[str], counts: Mapping[str, Counter[str]], repeated: Mapping[str, int]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Effects of operations that are performed three times: twice inside the window, once outside",
        ("receiver", "operations", "effects", "operations with more than one"),
        counts,
        lambda own: (len(names), sum(own[name] for name in names), sum(own[name] > 1 for name in names)),
        f"published again: {repeated['inside']} inside the window, {repeated['outside']} outside",
    )


DEDUPLICATION_WINDOW = Experiment(
    name="deduplication-window",
    section=Section.DELIVERY,
    claims=("F7", "F10"),
    pattern="Deduplication interval (Amazon SQS); Idempotent Receiver (EIP)",
    code="shared/prebook/postgres/outbox.py",
    claim="A sender suppresses duplicates for a while only; behind its window, an inbox catches them.",
    varies="whether an operation is repeated inside or outside of the window, and whether the receiver has an inbox",
    law=f"{SUPPRESSED}; {PASSED}; {NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="the receiver relies on the sender's deduplication, and has no inbox of its own",
    expected="Inside the window nothing is published again; outside, everything is, and only an inbox stops it.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=subscriptions(
        "one event, two receivers", addresses.EVENTS, dict(zip(QUEUES.values(), SERVICES.values(), strict=True))
    ),
    worker_modules=(receiver.__name__,),
)
