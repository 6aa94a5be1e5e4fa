"""Experiment: a queue shapes a square wave of messages. Source: EIP, Polling Consumer; SRE, Handling Overload."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import pvariance

from prebook.devstack.parameters import FiniteRange
from prebook.lab.background import run_in_background
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, effect_counts, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize, effect_checks
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.messaging import addresses

RIGHT = "the receiver takes one message at a time"
WRONG = "the receiver takes all messages at once"
QUEUES = {RIGHT: "lab.shaping.pulled", WRONG: "lab.shaping.pushed"}
PREFETCH = {RIGHT: 1, WRONG: 1_000}
SMOOTH = "variance of messages handled in a window <= 1/4 of those sent"
SHAVED = "peak of messages handled in a window <= 3/4 of those sent"
MAX_VARIANCE_SHARE = 0.25
MAX_PEAK_SHARE = 0.75
WINDOW_S = 0.25
HIGH_S = 1.0
"""Seconds in which messages are sent; as many without one follow."""
WORK_MS = 30.0
"""Time that the receiver takes for a message, besides its transaction: about the mean rate of the wave."""


class ShapingSize(PatternSize, frozen=True, kw_only=True):
    """Size of the experiment, with the rate at which messages are sent while the wave is high."""

    messages: int = 400
    high_per_s: float = 60.0


@dataclass(frozen=True)
class Wave:
    """Messages per window of time, from the first to the last that has any."""

    counts: Sequence[int]

    @property
    def variance(self) -> float:
        """Variance of the counts."""
        return pvariance(self.counts)

    @property
    def peak(self) -> int:
        """Largest count."""
        return max(self.counts)


@dataclass(frozen=True)
class ShapingRun:
    """One arrangement: what was sent and handled, and the effects of each message."""

    sent: Wave
    handled: Wave
    effects: Counter[str]


async def measure(run: ExperimentRun, size: ShapingSize) -> Measurement:
    """Send messages in a square wave to a receiver that takes them one by one, and to one that takes all at once."""
    names = message_names(size.messages)
    lag = TimerLag()
    runs = {}
    async with PatternSite.open(run) as site, run_in_background(lag.watch()):
        for arrangement in QUEUES:
            run.log(arrangement)
            defect = size.defect if arrangement == RIGHT else SeededDefect.NONE
            runs[arrangement] = await _send_wave(site, arrangement, names, size.high_per_s, defect)
    return Measurement(
        checks=[
            *effect_checks(RIGHT, names, runs[RIGHT].effects),
            *wave_checks(RIGHT, runs[RIGHT], LawVerdict.HELD, lag.doubt),
            *effect_checks(WRONG, names, runs[WRONG].effects),
            *wave_checks(WRONG, runs[WRONG], LawVerdict.VIOLATED),
        ],
        tables=[_table(runs, size)],
    )


def wave_checks(arrangement: str, run: ShapingRun, expected: LawVerdict, doubt: str = "") -> Iterable[LawCheck]:
    """Yield the checks that the receiver's load varies less than the sender's, and that its peak is lower."""
    variance = ("variance handled", round(run.handled.variance, 2))
    variance_limit = ("a quarter of that sent", round(MAX_VARIANCE_SHARE * run.sent.variance, 2))
    peak = ("peak handled", run.handled.peak)
    peak_limit = ("3/4 of that sent", MAX_PEAK_SHARE * run.sent.peak)
    at_most = Relation.AT_MOST
    yield check_law(SMOOTH, arrangement, variance, at_most, variance_limit, expected=expected, doubt=doubt)
    yield check_law(SHAVED, arrangement, peak, at_most, peak_limit, expected=expected, doubt=doubt)


def wave_of(times_s: Sequence[float]) -> Wave:
    """Return the counts of ``times_s`` per window; the last window is left out, because it is cut off."""
    first_s = min(times_s)
    counts = Counter(int((at_s - first_s) / WINDOW_S) for at_s in times_s)
    return Wave([counts[window] for window in range(max(counts))] or [len(times_s)])


def due_s(number: int, high_per_s: float) -> float:
    """Return when a message is due, in seconds since the first; the wave is low for as long as it is high."""
    per_wave = round(high_per_s * HIGH_S)
    wave, place = divmod(number, per_wave)
    return wave * 2 * HIGH_S + place / high_per_s


async def _send_wave(
    site: PatternSite, arrangement: str, names: Sequence[str], high_per_s: float, defect: SeededDefect
) -> ShapingRun:
    queue = QUEUES[arrangement]
    spec = site.receiver_spec(
        arrangement,
        queue,
        prefetch=PREFETCH[arrangement],
        work_ms=WORK_MS,
        defect=defect,
        defective_message=site.random.choice(names),
    )
    async with site.receivers(spec):
        began_s = time.monotonic()
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began_s + due_s(number, high_per_s) - time.monotonic()))
            await site.publish(addresses.REDELIVER, queue, [name], arrangement)
        await site.wait_until_settled(arrangement, names, queue)
    effects = await site.read_effects(arrangement)
    return ShapingRun(
        sent=wave_of([due_s(number, high_per_s) for number in range(len(names))]),
        handled=wave_of([effect.at.timestamp() for effect in effects]),
        effects=effect_counts(effects),
    )


def _table(runs: Mapping[str, ShapingRun], size: ShapingSize) -> ResultTable:
    return ResultTable.by_arrangement(
        f"Messages in windows of {1000 * WINDOW_S:g} ms",
        ("arrangement", "variance sent", "variance handled", "peak sent", "peak handled"),
        runs,
        lambda own: (f"{own.sent.variance:.1f}", f"{own.handled.variance:.1f}", own.sent.peak, own.handled.peak),
        f"{size.high_per_s:g} messages/s for {HIGH_S:g} s, then none for {HIGH_S:g} s, and so on",
    )


TRAFFIC_SHAPING = Experiment(
    name="traffic-shaping",
    section=Section.CONTROL_FLOW,
    claims=("E6",),
    pattern="Polling Consumer (EIP)",
    code="shared/prebook/rabbit/consumer.py",
    claim="A queue turns a square wave of messages into the steady load that its receiver pulls.",
    varies="how many messages the receiver takes at a time; the wave that is sent is the same",
    law=f"{SMOOTH}; {SHAVED}",
    wrong_way="the receiver takes whatever is there, so that the wave passes through the queue",
    expected="Taken one at a time, the wave becomes nearly flat; taken at once, it arrives as it was sent.",
    full=ShapingSize(),
    quick=ShapingSize(messages=120),
    options=(
        *PATTERN_OPTIONS,
        SizeOption("high_per_s", FiniteRange(20.0, 200.0), "Messages per second while the wave is high."),
    ),
    measure=measure,
    topology=direct_queue(RIGHT, QUEUES[RIGHT], RECEIVER_SERVICES[0])
    | direct_queue(WRONG, QUEUES[WRONG], RECEIVER_SERVICES[0]),
    worker_modules=(receiver.__name__,),
)
