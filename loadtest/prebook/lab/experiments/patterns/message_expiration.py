"""Experiment: Message Expiration. Source: EIP, Message Expiration."""

from collections import Counter
from datetime import datetime, timedelta

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, QUICK, PatternSize
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.rabbit.dead_letter_consumer import dead_letter_from_amqp

RIGHT = "messages with a time to live"
WRONG = "messages without a time to live"
QUEUES = {RIGHT: "lab.expiration.limited", WRONG: "lab.expiration.unlimited"}
ACCOUNTED = "messages handled + expired = messages sent"
IN_TIME = "messages handled after their time = 0"
EXPIRED = "expired"
"""Reason that the broker gives with an expired message."""
SHORT_S = 1.0
LONG_S = 3_600.0


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Let messages wait for a killed receiver until half of them are out of date; with and without a time to live."""
    async with PatternSite.open(run) as site:
        run.log(RIGHT)
        limited = await _let_wait(site, RIGHT, size, size.defect)
        run.log(WRONG)
        unlimited = await _let_wait(site, WRONG, size, SeededDefect.NONE)
    sent = ("sent", size.messages)
    late = LawVerdict.VIOLATED
    return Measurement(
        checks=[
            check_law(ACCOUNTED, RIGHT, ("handled + expired", limited.total() - limited["late"]), Relation.EQUAL, sent),
            check_law(IN_TIME, RIGHT, ("late", limited["late"]), Relation.EQUAL, ("", 0)),
            check_law(IN_TIME, WRONG, ("late", unlimited["late"]), Relation.EQUAL, ("", 0), expected=late),
        ],
        tables=[_table(size, {RIGHT: limited, WRONG: unlimited})],
    )


async def _let_wait(site: PatternSite, arrangement: str, size: PatternSize, defect: SeededDefect) -> Counter[str]:
    """Return how many messages were handled, expired, and handled late.

    The first half is out of date before the receiver is back; the broker drops expired messages at the head of a queue.
    """
    queue = QUEUES[arrangement]
    names = message_names(size.messages)
    urgent, patient = names[: len(names) // 2], names[len(names) // 2 :]
    due_at = utc_now() + timedelta(seconds=SHORT_S)
    late_at = utc_now() + timedelta(seconds=LONG_S)
    limits = (due_at, late_at) if arrangement == RIGHT else (None, None)
    spec = site.receiver_spec(arrangement, queue, defect=defect, defective_message=site.random.choice(patient))
    async with site.receivers(spec) as (process,):
        process.kill()
        process.join()
    await site.publish(addresses.REDELIVER, queue, urgent, arrangement, expires_at=limits[0])
    await site.publish(addresses.REDELIVER, queue, patient, arrangement, expires_at=limits[1])

    async def is_out_of_date() -> bool:
        return utc_now() > due_at

    await site.wait_until(is_out_of_date, "the end of the messages' time")
    async with site.receivers(spec):
        await site.wait_until_settled(arrangement, patient, queue)
    effects = await site.read_effects(arrangement)
    due: dict[str, datetime] = {**dict.fromkeys(urgent, due_at), **dict.fromkeys(patient, late_at)}
    late = sum(effect.at > due[effect.message] for effect in effects)
    expired = await count_expired(site, queue)
    return Counter({"handled": len({effect.message for effect in effects}), "expired": expired, "late": late})


async def count_expired(site: PatternSite, queue: str) -> int:
    """Take the expired messages of ``queue`` out of the parking queue; return their number."""
    channel = await site.broker.channel()
    parked = await channel.get_queue(addresses.PARKING_QUEUE, ensure=False)
    count = 0
    while message := await parked.get(no_ack=True, fail=False):
        deaths = dead_letter_from_amqp(message).x_deaths
        count += any(death.reason == EXPIRED and death.queue == queue for death in deaths)
    await channel.close()
    return count


def _table(size: PatternSize, counts: dict[str, Counter[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Messages that wait for a receiver until half of them are out of date",
        ("arrangement", "sent", "handled", "expired", "handled late"),
        counts,
        lambda own: (size.messages, own["handled"], own["expired"], own["late"]),
        f"time to live of the first half {SHORT_S:g} s, of the second {LONG_S:g} s; the receiver is away",
    )


MESSAGE_EXPIRATION = Experiment(
    name="message-expiration",
    section=Section.PATTERNS,
    claims=("E8", "E10"),
    pattern="Message Expiration (EIP)",
    code="shared/prebook/messaging/envelope.py",
    claim="A message with a time to live is handled in time or counted as expired, and never handled too late.",
    varies="whether messages have a time to live; their receiver is killed and comes back too late for half of them",
    law=f"{ACCOUNTED}; {IN_TIME}",
    wrong_way="messages have no time to live, so a receiver that comes back handles what nobody waits for any more",
    expected="With a time to live, half of the messages expire; without, they are handled too late.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=direct_queue(RIGHT, QUEUES[RIGHT], RECEIVER_SERVICES[0])
    | direct_queue(WRONG, QUEUES[WRONG], RECEIVER_SERVICES[0]),
    worker_modules=(receiver.__name__,),
)
