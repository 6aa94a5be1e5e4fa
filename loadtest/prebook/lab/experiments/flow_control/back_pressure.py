"""Experiment: the same overload with and without back pressure from the queue to the sender.

Source: SRE, Handling Overload; Reactive Streams, back pressure.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

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
from prebook.lab.experiments.flow_control.capacity import (
    OVERLOAD,
    WORK_MS,
    busy_doubt,
    drift_doubt,
    measure_capacity,
    rate_of,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, Effect, PatternSite, message_names
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.patterns.admission_control import ACCEPTING, QueueLoad
from prebook.topology.model import union

RIGHT = "back pressure"
WRONG = "none"
QUEUES = {RIGHT: "lab.pressure.on", WRONG: "lab.pressure.off"}
MAX_WAIT_S = 0.5
"""Wait at which the sender starts to refuse: the high-water mark is the messages handled in this time."""
AGE = "longest wait of a message <= three times the wait at which the sender refuses"
DEPTH = "most messages waiting <= high-water mark + 1"
GOODPUT = "messages handled per second of overload >= 90 % of the capacity"
ACCOUNTED = "messages handled + refused = messages offered"
AGE_FACTOR = 3.0
MIN_GOODPUT = 0.9


class PressureSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: seconds of overload, and a defect to seed."""

    overload_s: float = 10.0
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class Sent:
    """Record of the sender: the time of each message that it accepted, the refusals, and the queue."""

    accepted: Mapping[str, datetime]
    refused: int
    most_waiting: int
    high_water_mark: float


@dataclass(frozen=True)
class PressureRun:
    """One arrangement: counts, the longest wait in seconds, and messages handled per second."""

    offered: int
    refused: int
    handled: int
    most_waiting: int
    high_water_mark: float
    longest_wait_s: float
    per_s: float


async def measure(run: ExperimentRun, size: PressureSize) -> Measurement:
    """Measure the receiver's capacity, and offer twice that with and without back pressure."""
    lag = TimerLag()
    runs = {}
    async with PatternSite.open(run) as site, run_in_background(lag.watch()):
        run.log("capacity")
        capacity_per_s = await measure_capacity(site, QUEUES[WRONG])
        for arrangement in QUEUES:
            run.log(f"{arrangement}, at {OVERLOAD:g} x {capacity_per_s:.0f}/s")
            sent = await _offer(site, arrangement, size, capacity_per_s)
            runs[arrangement] = account(sent, await site.read_effects(arrangement))
    drifted = drift_doubt(capacity_per_s, [runs[WRONG].per_s], 1 - MIN_GOODPUT)
    doubt = lag.doubt or busy_doubt(capacity_per_s) or drifted
    checks = [check for name, own in runs.items() for check in pressure_checks(name, own, capacity_per_s, doubt)]
    return Measurement(checks=checks, tables=[_table(runs, capacity_per_s)])


def account(sent: Sent, effects: Sequence[Effect]) -> PressureRun:
    """Return the counts of an arrangement; the wait of a message ends with its effect."""
    waits_s = [(each.at - sent.accepted[each.message]).total_seconds() for each in effects]
    return PressureRun(
        offered=len(sent.accepted) + sent.refused,
        refused=sent.refused,
        handled=len({effect.message for effect in effects}),
        most_waiting=sent.most_waiting,
        high_water_mark=sent.high_water_mark,
        longest_wait_s=max(waits_s),
        per_s=rate_of(effects),
    )


def pressure_checks(arrangement: str, own: PressureRun, capacity_per_s: float, doubt: str) -> Iterable[LawCheck]:
    """Yield the checks of an arrangement; without back pressure, wait and depth have no bound."""
    is_right = arrangement == RIGHT
    expected = LawVerdict.HELD if is_right else LawVerdict.VIOLATED
    accounted = ("handled + refused", own.handled + own.refused)
    yield check_law(ACCOUNTED, arrangement, accounted, Relation.EQUAL, ("offered", own.offered))
    waiting = ("most waiting", own.most_waiting)
    mark = ("mark + 1", round(own.high_water_mark + 1, 1))
    yield check_law(DEPTH, arrangement, waiting, Relation.AT_MOST, mark, expected=expected)
    wait = ("longest wait in s", round(own.longest_wait_s, 2))
    bound = ("bound in s", AGE_FACTOR * MAX_WAIT_S)
    reason = doubt if is_right else ""
    yield check_law(AGE, arrangement, wait, Relation.AT_MOST, bound, expected=expected, doubt=reason)
    per_s = ("per second", round(own.per_s, 1))
    least = ("90 % of the capacity", round(MIN_GOODPUT * capacity_per_s, 1))
    yield check_law(GOODPUT, arrangement, per_s, Relation.AT_LEAST, least, doubt=doubt)


async def _offer(site: PatternSite, arrangement: str, size: PressureSize, capacity_per_s: float) -> Sent:
    """Offer messages at a multiple of the capacity; with back pressure, refuse while too many wait."""
    queue = QUEUES[arrangement]
    mark = MAX_WAIT_S * capacity_per_s
    names = message_names(round(OVERLOAD * capacity_per_s * size.overload_s))
    accepted = dict[str, datetime]()
    depths = list[int]()
    state = ACCEPTING
    defect = size.defect if arrangement == RIGHT else SeededDefect.NONE
    spec = site.receiver_spec(arrangement, queue, work_ms=WORK_MS, defect=defect, defective_message=names[0])
    async with site.receivers(spec):
        began_s = time.monotonic()
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began_s + number / (OVERLOAD * capacity_per_s) - time.monotonic()))
            depths.append(await site.count_ready(queue))
            if arrangement == RIGHT:
                state = state.updated(QueueLoad(waiting=depths[-1], limit=mark))
            if not state.shedding:
                accepted[name] = utc_now()
                await site.publish(addresses.REDELIVER, queue, [name], arrangement)
        await site.wait_until_settled(arrangement, [*accepted], queue)
    return Sent(accepted, len(names) - len(accepted), max(depths), mark)


def _table(runs: Mapping[str, PressureRun], capacity_per_s: float) -> ResultTable:
    return ResultTable.by_arrangement(
        f"Overload at {OVERLOAD:g} times the capacity of {capacity_per_s:.0f}/s",
        ("back pressure", "offered", "refused", "handled", "most waiting", "longest wait, s", "handled/s"),
        {"on" if name == RIGHT else "off": own for name, own in runs.items()},
        lambda own: (
            own.offered,
            own.refused,
            own.handled,
            own.most_waiting,
            f"{own.longest_wait_s:.2f}",
            f"{own.per_s:.1f}",
        ),
        f"the sender refuses from a wait of {MAX_WAIT_S:g} s, until it is half of that",
    )


BACK_PRESSURE = Experiment(
    name="back-pressure",
    section=Section.CONTROL_FLOW,
    claims=("E7", "E9"),
    pattern="Back pressure, load shedding (SRE, Handling Overload)",
    code="shared/prebook/patterns/admission_control.py",
    claim="A queue needs flow control: with back pressure, waits are bounded and the goodput is the capacity.",
    varies="whether the sender refuses while too many messages wait in the queue, at twice the capacity",
    law=f"{ACCOUNTED}; {DEPTH}; {AGE}; {GOODPUT}",
    wrong_way="the queue takes everything, so each message waits longer than the one before",
    expected="With back pressure the queue stays short, and the excess is refused at once; without, the wait grows.",
    full=PressureSize(),
    quick=PressureSize(overload_s=2.5),
    options=(
        SizeOption("overload_s", FiniteRange(2.0, 120.0), "Seconds of overload in each arrangement."),
        defect_option(LOSE_ONLY),
    ),
    measure=measure,
    topology=union(direct_queue(name, queue, RECEIVER_SERVICES[0]) for name, queue in QUEUES.items()),
    worker_modules=(receiver.__name__,),
)
