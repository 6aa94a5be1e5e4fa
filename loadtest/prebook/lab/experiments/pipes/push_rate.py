"""Experiment: a push target with and without a limit of the rate. Source: EIP, Channel Adapter; SRE, Throttling."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prebook.devstack.parameters import FiniteRange
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.loopback_server import listen
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS
from prebook.lab.experiments.pipes import worker
from prebook.lab.experiments.pipes.ends import PipeEnds
from prebook.lab.experiments.pipes.samples import batch_times_s, read_samples
from prebook.lab.experiments.pipes.target import RecordingTarget
from prebook.lab.experiments.pipes.worker import PUSH, PipeWorkerSpec
from prebook.lab.experiments.timer_lag import lag_doubt
from prebook.messaging import addresses
from prebook.patterns.pipe import Pipe, PipeStage
from prebook.topology.model import union

RIGHT = "push target with a rate"
WRONG = "push target without a limit"
QUEUES = {RIGHT: "lab.push.limited", WRONG: "lab.push.unlimited"}
DELIVERED = "items pushed = items sent"
NOT_SLOWER = "rate >= 95 % of the limit while the backlog {phase}"
NOT_FASTER = "rate <= 105 % of the limit while the backlog {phase}"
GROWS = "grows"
DRAINS = "drains"
BOUNDED = "pushes in flight at the target <= parallelism"
TOLERANCE = 0.05
PARALLELISM = 8
UNLIMITED = 1_000
"""Parallelism of the wrong way: more than it ever has messages at a time."""
OVERLOAD = 3.0
"""Ratio of the rate at which messages are sent to the limit."""
SLOTS = 4
"""Pushes that the target handles at a time; the others wait in it."""
HEADROOM = 5 / 3
"""Capacity of the target as a multiple of the limit, so that the limit is the slowest part."""
SETTLING_S = 0.5
"""Seconds of a phase that are left out at its beginning: the start of a process is not the pace of a pipe."""
BURST_S = 0.25
"""Seconds of pause after which the pipe may catch up; a machine that pauses longer is too busy to judge a rate."""
MIN_CAPACITY_SHARE = 1.5
"""Ratio of the measured capacity of the push to the limit, below which the limit alone does not determine the rate."""


class PushSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: limit of the rate, seconds for which the backlog grows, and a defect to seed."""

    rate_per_s: float = 30.0
    grows_s: float = 15.0
    defect: SeededDefect = SeededDefect.NONE

    @property
    def push_s(self) -> float:
        """Seconds that the target takes for one push."""
        return SLOTS / (HEADROOM * self.rate_per_s)


@dataclass(frozen=True)
class PhaseRate:
    """Rate of one phase as the target has seen it."""

    phase: str
    per_s: float
    longest_gap_s: float
    capacity_per_s: float
    """Pushes per second that the stage could have done, by the measured time of one."""
    lag_s: float
    """Mean lag of the timers of the pipe's process."""
    backlog: int
    """Messages in the queue at the end of the phase."""

    def doubt(self, rate_per_s: float) -> str:
        """Return the reason why the rate says nothing about the limit; empty if it says something."""
        if self.longest_gap_s > BURST_S:
            return f"the machine was too busy: {self.longest_gap_s:.2f} s without a push"
        if self.capacity_per_s < MIN_CAPACITY_SHARE * rate_per_s:
            return f"the machine was too busy: it could push {self.capacity_per_s:.0f}/s"
        return lag_doubt(self.lag_s)


@dataclass(frozen=True)
class PushRun:
    """One arrangement."""

    sent: int
    delivered: int
    max_in_flight: int
    phases: Sequence[PhaseRate]


async def measure(run: ExperimentRun, size: PushSize) -> Measurement:
    """Send messages at three times the rate, kill the pipe, and let it drain the backlog; with a rate and without."""
    runs = {}
    async with PatternSite.open(run) as site:
        for arrangement in QUEUES:
            run.log(arrangement)
            runs[arrangement] = await _push(site, arrangement, size)
    violated = LawVerdict.VIOLATED
    return Measurement(
        checks=[
            delivery_check(RIGHT, runs[RIGHT]),
            *(check for phase in runs[RIGHT].phases for check in rate_checks(RIGHT, phase, size.rate_per_s)),
            bound_check(RIGHT, runs[RIGHT].max_in_flight),
            delivery_check(WRONG, runs[WRONG]),
            bound_check(WRONG, runs[WRONG].max_in_flight, expected=violated),
        ],
        tables=[_table(runs, size)],
    )


def delivery_check(arrangement: str, run: PushRun) -> LawCheck:
    """Return the check that every item reached the target."""
    return check_law(DELIVERED, arrangement, ("pushed", run.delivered), Relation.EQUAL, ("sent", run.sent))


def rate_checks(arrangement: str, phase: PhaseRate, rate_per_s: float) -> Iterable[LawCheck]:
    """Yield the checks that the rate is within the tolerance of the limit."""
    per_s = ("per second", round(phase.per_s, 2))
    low = ("95 %", round((1 - TOLERANCE) * rate_per_s, 2))
    high = ("105 %", round((1 + TOLERANCE) * rate_per_s, 2))
    not_slower, not_faster = (law.format(phase=phase.phase) for law in (NOT_SLOWER, NOT_FASTER))
    yield check_law(not_slower, arrangement, per_s, Relation.AT_LEAST, low, doubt=phase.doubt(rate_per_s))
    yield check_law(not_faster, arrangement, per_s, Relation.AT_MOST, high, doubt=phase.doubt(rate_per_s))


def bound_check(arrangement: str, max_in_flight: int, *, expected: LawVerdict = LawVerdict.HELD) -> LawCheck:
    """Return the check that the target never had more pushes at a time than the parallelism allows."""
    right = ("parallelism", PARALLELISM)
    return check_law(BOUNDED, arrangement, ("in flight", max_in_flight), Relation.AT_MOST, right, expected=expected)


def rate_between(arrivals_s: Sequence[float], since_s: float, until_s: float) -> tuple[float, float]:
    """Return arrivals per second, and the longest gap between two, within a time; 0 and the time without arrivals."""
    within = sorted(at for at in arrivals_s if since_s <= at <= until_s)
    if len(within) < 2:  # noqa: PLR2004 - a rate needs two points
        return 0.0, until_s - since_s
    gaps = [later - earlier for earlier, later in pairwise(within)]
    return (len(within) - 1) / (within[-1] - within[0]), max(gaps)


async def _push(site: PatternSite, arrangement: str, size: PushSize) -> PushRun:
    queue = QUEUES[arrangement]
    names = message_names(round(size.rate_per_s * size.grows_s * OVERLOAD))
    target = RecordingTarget(push_s=size.push_s, slots=SLOTS)
    async with listen(target.handle) as url:
        spec = PipeWorkerSpec.on_files(
            site.run.testbed.context.work_dir / f"{queue}-{site.token}",
            pipe=_pipe(arrangement, size, queue),
            one_thread=False,
            amqp_url=site.amqp_url,
            target_url=url,
            omitted=site.random.choice(names) if (arrangement, size.defect) == (RIGHT, SeededDefect.LOSE) else "",
        )
        async with site.processes(worker.run, spec) as (process,):
            began_s = time.monotonic()
            await _send_steadily(site, queue, names, arrangement, size.rate_per_s * OVERLOAD)
            grown_s = time.monotonic()
            process.kill()
            process.join()
        backlog = await site.count_ready(queue)
        grown_at = len(read_samples(Path(spec.samples_path)))
        restarted_s = time.monotonic()
        ends = PipeEnds(site, target, spec)
        await ends.run_until_all_ended(names)
    arrivals_s = [at for _, at in target.arrivals]
    first_s = min((at for at in arrivals_s if at > restarted_s), default=restarted_s)
    times = {GROWS: (began_s + SETTLING_S, grown_s), DRAINS: (first_s + SETTLING_S, max(arrivals_s))}
    samples = read_samples(Path(spec.samples_path))
    parts = {GROWS: samples[:grown_at], DRAINS: samples[grown_at:]}
    backlogs = {GROWS: backlog, DRAINS: await site.count_ready(queue)}
    phases = [
        PhaseRate(
            phase,
            *rate_between(arrivals_s, *within),
            capacity_per_s=PARALLELISM / (batch_times_s(parts[phase][0], parts[phase][-1])[PUSH] or math.inf),
            lag_s=sum(sample.lag_s for sample in parts[phase]) / len(parts[phase]),
            backlog=backlogs[phase],
        )
        for phase, within in times.items()
    ]
    return PushRun(len(names), len(target.names), target.max_in_flight, phases)


def _pipe(arrangement: str, size: PushSize, queue: str) -> Pipe:
    limited = PipeStage(
        name=PUSH, parallelism=PARALLELISM, rate_per_s=size.rate_per_s, burst=max(1, round(BURST_S * size.rate_per_s))
    )
    unlimited = PipeStage(name=PUSH, parallelism=UNLIMITED)
    return Pipe(
        name="lab", source=queue, stages=(limited if arrangement == RIGHT else unlimited,), target="target", buffer=1
    )


async def _send_steadily(site: PatternSite, queue: str, names: Sequence[str], arrangement: str, per_s: float) -> None:
    """Send messages at a rate; one that is due while another one waits for its confirm goes with the next."""
    began_s = time.monotonic()
    sent = 0
    while sent < len(names):
        due = min(len(names), int((time.monotonic() - began_s) * per_s) + 1)
        await site.publish(addresses.REDELIVER, queue, names[sent:due], arrangement)
        sent = due
        await asyncio.sleep(1 / per_s)


def _table(runs: dict[str, PushRun], size: PushSize) -> ResultTable:
    return ResultTable(
        title=f"Pushes, sent at {size.rate_per_s * OVERLOAD:g}/s to a target with a limit of {size.rate_per_s:g}/s",
        columns=("arrangement", "backlog", "rate/s", "longest gap ms", "left in the queue", "most in flight"),
        rows=tuple(
            (
                arrangement,
                phase.phase,
                f"{phase.per_s:.1f}",
                f"{1000 * phase.longest_gap_s:.0f}",
                str(phase.backlog),
                str(own.max_in_flight),
            )
            for arrangement, own in runs.items()
            for phase in own.phases
        ),
        caption=f"a push takes {1000 * size.push_s:.0f} ms, {SLOTS} at a time; the pipe is killed between the phases",
    )


PUSH_RATE = Experiment(
    name="push-rate",
    section=Section.PATTERNS,
    claims=("E2", "E3"),
    pattern="Channel Adapter (EIP) with a rate limit",
    code="shared/prebook/messaging/pipe_runner.py",
    claim="A rate limit keeps the backlog in the queue; without one, it moves into the receiver.",
    varies="whether the push has a rate and few pushes at a time; the pipe is killed when the backlog is largest",
    law=f"{DELIVERED}; {NOT_SLOWER.format(phase='grows and drains')}; "
    f"{NOT_FASTER.format(phase='grows and drains')}; {BOUNDED}",
    wrong_way="everything in the queue is pushed at once, and waits inside the target",
    expected="With a rate the target sees it exactly; without one, its pushes in flight grow with the backlog.",
    full=PushSize(),
    quick=PushSize(grows_s=3.0),
    options=(
        SizeOption("rate_per_s", FiniteRange(5.0, 100.0), "Limit of the rate, in items per second."),
        SizeOption("grows_s", FiniteRange(2.0, 300.0), "Seconds for which the backlog grows."),
        PATTERN_OPTIONS[-1],
    ),
    measure=measure,
    topology=union(direct_queue(name, queue, RECEIVER_SERVICES[0]) for name, queue in QUEUES.items()),
    worker_modules=(worker.__name__,),
)
