"""Experiment: Idempotent Receiver. Source: EIP, Idempotent Receiver."""

from collections import Counter
from collections.abc import Mapping

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import Deduplication
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
from prebook.topology.model import union

COPIES = 3
"""Number of times that each message is delivered."""
QUEUES: Mapping[Deduplication, str] = {
    Deduplication.INBOX: "lab.idempotent.inbox",
    Deduplication.IN_MEMORY: "lab.idempotent.memory",
}
LAST = "message-last"
RIGHT = "ids in the database, with the effect"
WRONG = "ids in memory"


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Deliver each message three times to a receiver that is killed and restarted, with either memory."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        inbox = await _deliver_copies(site, Deduplication.INBOX, names, size)
        memory = await _deliver_copies(site, Deduplication.IN_MEMORY, names, PatternSize(messages=size.messages))
    return Measurement(
        checks=[
            *effect_checks(RIGHT, names, inbox),
            *effect_checks(WRONG, names, memory, duplicates=LawVerdict.VIOLATED),
        ],
        tables=[_table(size, {RIGHT: inbox, WRONG: memory})],
    )


async def _deliver_copies(
    site: PatternSite, deduplication: Deduplication, names: list[str], size: PatternSize
) -> Counter[str]:
    """Deliver one copy of each message and kill the receiver on the way; then deliver the others to a new one.

    Messages are handled one at a time, so the last one comes after all copies.
    """
    queue = QUEUES[deduplication]
    site.run.log(f"ids {deduplication.replace('_', ' ')}")
    spec = site.receiver_spec(
        deduplication,
        queue,
        deduplication=deduplication,
        defect=size.defect,
        defective_message=site.random.choice(names),
    )
    kill_at = site.random.uniform(0.3, 0.6)
    async with site.receivers(spec) as (process,):
        await site.publish(addresses.REDELIVER, queue, names, deduplication)
        await site.wait_for_effects(deduplication, names, kill_at)
        process.kill()
        process.join()
    async with site.receivers(spec):
        for _copy in range(COPIES - 1):
            await site.publish(addresses.REDELIVER, queue, names, deduplication)
        await site.publish(addresses.REDELIVER, queue, [LAST], deduplication)
        await site.wait_for_effects(deduplication, [LAST], 1.0)
    return effect_counts(await site.read_effects(deduplication))


def _table(size: PatternSize, counts: Mapping[str, Counter[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Effects of messages that are delivered three times",
        ("memory of handled ids", "messages", "deliveries, at least", "effects"),
        counts,
        lambda own: (size.messages, COPIES * size.messages, own.total() - own[LAST]),
        "the receiver is killed and restarted while it handles the first copies",
    )


IDEMPOTENT_RECEIVER = Experiment(
    name="idempotent-receiver",
    section=Section.PATTERNS,
    claims=("F8", "G8"),
    pattern="Idempotent Receiver (EIP)",
    code="shared/prebook/postgres/inbox.py",
    claim="A receiver that stores the ids of handled messages with their effects applies each message once.",
    varies="where the receiver keeps the ids of handled messages; it is killed and restarted",
    law=f"{NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="ids are kept in memory: a restarted receiver knows none of them",
    expected="With ids in the database three deliveries have one effect; with ids in memory some have two.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=union(
        direct_queue(name, queue, "matching") for name, queue in zip((RIGHT, WRONG), QUEUES.values(), strict=True)
    ),
    worker_modules=(receiver.__name__,),
)
