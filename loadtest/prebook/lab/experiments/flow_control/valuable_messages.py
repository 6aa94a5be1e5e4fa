"""Experiment: messages that are worth something for a time only, at twice the capacity of their receiver. Source: EIP,
Message Expiration; SRE, Handling Overload."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.devstack.parameters import FiniteRange
from prebook.lab.background import run_in_background
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.flow_control.capacity import OVERLOAD, WORK_MS, drift_doubt, measure_capacity, rate_of
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.message_expiration import count_expired
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, Effect, PatternSite, message_names
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.patterns.admission_control import ACCEPTING, QueueLoad
from prebook.topology.model import union

UNLIMITED = "no time to live"
LIMITED = "a time to live"
ADMITTED = "a time to live and admission control"
QUEUES = {UNLIMITED: "lab.value.unlimited", LIMITED: "lab.value.limited", ADMITTED: "lab.value.admitted"}
ACCOUNTED = "messages handled + expired + refused = messages offered"
WORTH_MORE = "value handled in time >= 1.2 x that without a time to live"
KEPT = "accepted messages that expire = 0"
MIN_GAIN = 1.2
WORTH_S = 1.0
"""Seconds after which a message is worth nothing."""
TIME_TO_LIVE_S = 0.85
"""Time that a message may wait in its queue: what it is worth, less the time that handling takes."""
MAX_WAIT_S = 0.5
"""Wait at which admission control starts to refuse."""
MAX_VALUE = 10
LAST = "message-last"
"""Message without a time to live that follows all others: once it is handled, they have ended."""


class ValueSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: seconds of overload, and a defect to seed."""

    overload_s: float = 8.0
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class Offered:
    """A message that was offered: its value, and when. ``is_accepted``: False if admission control refused it."""

    name: str
    value: int
    at: datetime
    is_accepted: bool


@dataclass(frozen=True)
class ValueRun:
    """One arrangement: values and counts of what was offered."""

    offered: int
    refused: int
    handled: int
    expired: int
    value_offered: int
    value_in_time: int


async def measure(run: ExperimentRun, size: ValueSize) -> Measurement:
    """Measure the receiver's capacity, and offer twice that without limit, with a time to live, and with admission."""
    lag = TimerLag()
    runs, rates_per_s = {}, {}
    async with PatternSite.open(run) as site, run_in_background(lag.watch()):
        run.log("capacity")
        capacity_per_s = await measure_capacity(site, QUEUES[UNLIMITED])
        for arrangement, queue in QUEUES.items():
            run.log(f"{arrangement}, at {OVERLOAD:g} x {capacity_per_s:.0f}/s")
            defect = size.defect if arrangement == LIMITED else SeededDefect.NONE
            offered = await _offer(site, arrangement, size.overload_s, capacity_per_s, defect)
            effects = await site.read_effects(arrangement)
            runs[arrangement] = account(offered, effects, await count_expired(site, queue))
            rates_per_s[arrangement] = rate_of(effects)
    doubt = lag.doubt or drift_doubt(capacity_per_s, rates_per_s.values())
    return Measurement(checks=list(value_checks(runs, doubt)), tables=[_table(runs, capacity_per_s)])


def account(offered: Sequence[Offered], effects: Iterable[Effect], expired: int) -> ValueRun:
    """Return the counts of an arrangement; a message is worth its value if it is handled within ``WORTH_S``."""
    handled_at = {effect.message: effect.at for effect in effects if effect.message != LAST}
    in_time = (
        each.value
        for each in offered
        if each.name in handled_at and handled_at[each.name] - each.at <= timedelta(seconds=WORTH_S)
    )
    return ValueRun(
        offered=len(offered),
        refused=sum(not each.is_accepted for each in offered),
        handled=len(handled_at),
        expired=expired,
        value_offered=sum(each.value for each in offered),
        value_in_time=sum(in_time),
    )


def value_checks(runs: Mapping[str, ValueRun], doubt: str) -> Iterable[LawCheck]:
    """Yield the checks of all arrangements."""
    for arrangement, own in runs.items():
        accounted = ("handled + expired + refused", own.handled + own.expired + own.refused)
        yield check_law(ACCOUNTED, arrangement, accounted, Relation.EQUAL, ("offered", own.offered))
    least = ("1.2 x without", round(MIN_GAIN * _share(runs[UNLIMITED]), 3))
    for arrangement, expected in (
        (UNLIMITED, LawVerdict.VIOLATED),
        (LIMITED, LawVerdict.HELD),
        (ADMITTED, LawVerdict.HELD),
    ):
        share = ("share in time", round(_share(runs[arrangement]), 3))
        reason = doubt if expected is LawVerdict.HELD else ""
        yield check_law(WORTH_MORE, arrangement, share, Relation.AT_LEAST, least, expected=expected, doubt=reason)
    for arrangement, expected in (ADMITTED, LawVerdict.HELD), (LIMITED, LawVerdict.VIOLATED):
        expired = ("expired", runs[arrangement].expired)
        reason = doubt if expected is LawVerdict.HELD else ""
        yield check_law(KEPT, arrangement, expired, Relation.EQUAL, ("", 0), expected=expected, doubt=reason)


def _share(run: ValueRun) -> float:
    return run.value_in_time / run.value_offered


async def _offer(
    site: PatternSite, arrangement: str, overload_s: float, capacity_per_s: float, defect: SeededDefect
) -> list[Offered]:
    """Offer messages at a multiple of the capacity, each with a value, and wait until all accepted ones have ended."""
    queue = QUEUES[arrangement]
    names = message_names(round(OVERLOAD * capacity_per_s * overload_s))
    spec = site.receiver_spec(arrangement, queue, work_ms=WORK_MS, defect=defect, defective_message=names[0])
    offered = list[Offered]()
    state = ACCEPTING
    async with site.receivers(spec):
        began_s = time.monotonic()
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began_s + number / (OVERLOAD * capacity_per_s) - time.monotonic()))
            if arrangement == ADMITTED:
                waiting = await site.count_ready(queue)
                state = state.updated(QueueLoad(waiting=waiting, limit=MAX_WAIT_S * capacity_per_s))
            now = utc_now()
            offered.append(Offered(name, site.random.randint(1, MAX_VALUE), now, is_accepted=not state.shedding))
            if not state.shedding:
                expires_at = None if arrangement == UNLIMITED else now + timedelta(seconds=TIME_TO_LIVE_S)
                await site.publish(addresses.REDELIVER, queue, [name], arrangement, expires_at=expires_at)

        await site.publish(addresses.REDELIVER, queue, [LAST], arrangement)
        await site.wait_until_settled(arrangement, [LAST], queue)
    return offered


def _table(runs: Mapping[str, ValueRun], capacity_per_s: float) -> ResultTable:
    def cells(own: ValueRun) -> Iterable[object]:
        yield from (own.offered, own.refused, own.expired, own.handled, own.value_offered, own.value_in_time)
        yield f"{_share(own):.0%}"

    return ResultTable.by_arrangement(
        f"Messages that are worth something for {WORTH_S:g} s, at twice the capacity of {capacity_per_s:.0f}/s",
        ("arrangement", "offered", "refused", "expired", "handled", "value offered", "value in time", "share"),
        runs,
        cells,
        f"a message expires after {TIME_TO_LIVE_S:g} s in its queue; admission refuses from a wait of {MAX_WAIT_S:g} s "
        "until it is half of that",
    )


VALUABLE_MESSAGES = Experiment(
    name="valuable-messages",
    section=Section.CONTROL_FLOW,
    claims=("E8", "E10"),
    pattern="Message Expiration (EIP); load shedding (SRE, Handling Overload)",
    code="shared/prebook/patterns/admission_control.py",
    claim="Under overload, a time to live keeps the receiver at work that is still worth something.",
    varies="whether messages have a time to live, and whether admission control refuses those that would wait too long",
    law=f"{ACCOUNTED}; {WORTH_MORE}; {KEPT}",
    wrong_way="messages wait for as long as it takes, so the receiver handles what is worth nothing any more",
    expected="With a time to live most of the capacity has value; with admission control, nothing accepted expires.",
    full=ValueSize(),
    quick=ValueSize(overload_s=3.0),
    options=(
        SizeOption("overload_s", FiniteRange(2.0, 120.0), "Seconds of overload in each arrangement."),
        defect_option(LOSE_ONLY),
    ),
    measure=measure,
    topology=union(direct_queue(name, queue, RECEIVER_SERVICES[0]) for name, queue in QUEUES.items()),
    worker_modules=(receiver.__name__,),
)
