"""Experiment: Wire Tap. Source: EIP, Wire Tap."""

from collections import Counter

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import EVENT_KEY, direct_queue, subscriptions
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, effect_counts, id_of, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, QUICK, PatternSize
from prebook.messaging import addresses
from prebook.rabbit.archive_reader import read_archive

MAIN, TAP = RECEIVER_SERVICES[:2]
"""Services of the main flow and of the tap."""
MAIN_QUEUE = addresses.event_queue(MAIN)
TAP_QUEUE = "lab.tap.copy"
INLINE_TAP_QUEUE = "lab.tap.inline"
INLINE_MAIN_QUEUE = "lab.tap.behind"
RIGHT = "the broker copies each message to the tap"
WRONG = "the tap stands in the main flow and passes messages on"
UNAFFECTED = "messages handled while the tap is away = messages sent"
TAPPED = "messages tapped, once it is back = messages sent"
ARCHIVED = "messages in the archive = messages sent"


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Send messages while the tap is killed, and count what the main flow handles meanwhile; either way."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        run.log(RIGHT)
        copied = await _copy(site, names, size)
        archived = await _count_archived(site, names)
        run.log(WRONG)
        inline = await _pass_on(site, names)
    sent = ("sent", len(names))
    wrong = LawVerdict.VIOLATED
    return Measurement(
        checks=[
            check_law(UNAFFECTED, RIGHT, ("handled", copied[MAIN]), Relation.EQUAL, sent),
            check_law(TAPPED, RIGHT, ("tapped", copied[TAP]), Relation.EQUAL, sent),
            check_law(ARCHIVED, RIGHT, ("archived", archived), Relation.EQUAL, sent),
            check_law(UNAFFECTED, WRONG, ("handled", inline[MAIN]), Relation.EQUAL, sent, expected=wrong),
            check_law(TAPPED, WRONG, ("tapped", inline[TAP]), Relation.EQUAL, sent),
        ],
        tables=[_table(len(names), {RIGHT: copied, WRONG: inline})],
    )


async def _copy(site: PatternSite, names: list[str], size: PatternSize) -> Counter[str]:
    tap = site.receiver_spec(
        RIGHT, TAP_QUEUE, service=TAP, defect=size.defect, defective_message=site.random.choice(names)
    )
    async with site.receivers(site.receiver_spec(RIGHT, MAIN_QUEUE, service=MAIN)):
        await _kill_receiver(site, tap)
        await site.publish(addresses.EVENTS, EVENT_KEY, names, RIGHT)
        await site.wait_until_settled(RIGHT, names, MAIN_QUEUE, MAIN)
        meanwhile = await _count_effects(site, RIGHT, MAIN)
        async with site.receivers(tap):
            await site.wait_until_settled(RIGHT, names, TAP_QUEUE, TAP)
    return Counter({MAIN: meanwhile, TAP: await _count_effects(site, RIGHT, TAP)})


async def _pass_on(site: PatternSite, names: list[str]) -> Counter[str]:
    """Count what the main flow has handled when all messages wait for the tap, which nothing else can consume."""
    tap = site.receiver_spec(WRONG, INLINE_TAP_QUEUE, service=TAP, forward_to=INLINE_MAIN_QUEUE)
    async with site.receivers(site.receiver_spec(WRONG, INLINE_MAIN_QUEUE, service=MAIN)):
        await _kill_receiver(site, tap)
        await site.publish(addresses.REDELIVER, INLINE_TAP_QUEUE, names, WRONG)

        async def is_waiting_for_tap() -> bool:
            return await site.count_ready(INLINE_TAP_QUEUE) + await _count_effects(site, WRONG, MAIN) >= len(names)

        await site.wait_until(is_waiting_for_tap, "the messages before the tap")
        meanwhile = await _count_effects(site, WRONG, MAIN)
        async with site.receivers(tap):
            await site.wait_until_settled(WRONG, names, INLINE_MAIN_QUEUE, MAIN)
    return Counter({MAIN: meanwhile, TAP: await _count_effects(site, WRONG, TAP)})


async def _kill_receiver(site: PatternSite, spec: receiver.ReceiverSpec) -> None:
    async with site.receivers(spec) as (process,):
        process.kill()
        process.join()


async def _count_effects(site: PatternSite, run: str, service: str) -> int:
    effects = await site.read_effects(run)
    return len(effect_counts(each for each in effects if each.receiver == service))


async def _count_archived(site: PatternSite, names: list[str]) -> int:
    """Return how many of the messages the suite's archive holds."""
    ids = {each.id async for each in read_archive(site.amqp_url)}
    return sum(id_of(name, RIGHT, site.token) in ids for name in names)


def _table(sent: int, handled: dict[str, Counter[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Messages with a tap that is away",
        ("arrangement", "sent", "handled meanwhile", "tapped at the end"),
        handled,
        lambda own: (sent, own[MAIN], own[TAP]),
        "the tap's process is killed before the messages are sent, and restarted afterwards",
    )


WIRE_TAP = Experiment(
    name="wire-tap",
    section=Section.PATTERNS,
    claims=("G7",),
    pattern="Wire Tap (EIP)",
    code="shared/prebook/topology/archive.py",
    claim="A tap that the broker feeds with copies sees every message, and the main flow does not notice its absence.",
    varies="whether the broker copies messages to the tap or the tap passes them on; the tap is killed",
    law=f"{UNAFFECTED}; {TAPPED}; {ARCHIVED}",
    wrong_way="the tap stands in line: while it is away, nothing passes",
    expected="With copies the main flow handles everything while the tap is away; in line it handles nothing.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=subscriptions(RIGHT, addresses.EVENTS, {MAIN_QUEUE: MAIN, TAP_QUEUE: TAP})
    | direct_queue(WRONG, INLINE_TAP_QUEUE, TAP)
    | direct_queue("behind the tap", INLINE_MAIN_QUEUE, MAIN),
    worker_modules=(receiver.__name__,),
)
