"""Experiment: Pipes and Filters. Source: EIP, Pipes and Filters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich_click as click

from prebook.devstack.errors import UserError
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
from prebook.lab.experiments.pipes.samples import PipePace, pace_of, read_samples
from prebook.lab.experiments.pipes.target import RecordingTarget
from prebook.lab.experiments.pipes.worker import ENRICH, FILTER, PUSH, PipeWorkerSpec
from prebook.lab.experiments.testbed import RETRY_HINT
from prebook.messaging import addresses
from prebook.patterns.pipe import Pipe, PipeAccount, PipeStage
from prebook.topology.model import union

KILLED = "stages in parallel, killed midway"
RIGHT = "stages in parallel"
WRONG = "one thread for all stages"
QUEUES = {KILLED: "lab.pipe.killed", RIGHT: "lab.pipe.stages", WRONG: "lab.pipe.thread"}
ACCOUNTED = "items in = filtered + delivered + parked + waiting"
AS_FAST = "throughput >= 90 % of the slowest stage's capacity"
NO_FASTER = "throughput <= 110 % of the slowest stage's capacity"
BACKLOG = "items waiting behind the slowest stage <= 10 % of those before it"
UNWANTED_SHARE = 5
"""One of so many messages is dropped by the filter."""
REFUSED_SHARE = 16
"""One of so many messages is refused by the target."""
ENRICH_MS = 30.0
PUSH_MS = 15.0
SLOTS = 8


class PipeSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of messages, knobs of the stages, and a defect to seed into the right way."""

    messages: int = 1_200
    enrich_parallelism: int = 2
    push_parallelism: int = 4
    push_batch: int = 1
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class PipeRun:
    """One arrangement: the account of all items, and the pace of the pipe if it was not killed."""

    account: PipeAccount
    pace: PipePace | None


async def measure(run: ExperimentRun, size: PipeSize) -> Measurement:
    """Run the pipe with a kill, then undisturbed, and then with one thread for all stages."""
    runs: dict[str, PipeRun] = {}
    async with PatternSite.open(run) as site:
        for arrangement in QUEUES:
            run.log(arrangement)
            runs[arrangement] = await _run_pipe(site, arrangement, size)
    return Measurement(
        checks=[
            account_check(KILLED, runs[KILLED].account),
            *pace_checks(RIGHT, runs[RIGHT], LawVerdict.HELD),
            *pace_checks(WRONG, runs[WRONG], LawVerdict.VIOLATED),
        ],
        tables=[_account_table(runs), _pace_table(runs)],
    )


def account_check(arrangement: str, account: PipeAccount) -> LawCheck:
    """Return the check that no item is lost and none has two ends."""
    received = ("in", account.received)
    return check_law(ACCOUNTED, arrangement, received, Relation.EQUAL, ("sum", account.accounted))


def pace_checks(arrangement: str, run: PipeRun, as_fast: LawVerdict) -> Iterable[LawCheck]:
    """Yield the account's check and those of the pace. ``as_fast``: expected verdict on the throughput."""
    yield account_check(arrangement, run.account)
    if pace := run.pace:
        per_s = ("per second", round(pace.per_s, 1))
        low = ("90 %", round(0.9 * pace.capacity_per_s, 1))
        high = ("110 %", round(1.1 * pace.capacity_per_s, 1))
        yield check_law(AS_FAST, arrangement, per_s, Relation.AT_LEAST, low, expected=as_fast, doubt=pace.doubt)
        yield check_law(NO_FASTER, arrangement, per_s, Relation.AT_MOST, high, doubt=pace.doubt)
        if as_fast is LawVerdict.HELD:
            behind = ("behind", round(pace.waiting_behind, 2))
            before = ("10 % of those before", round(0.1 * pace.waiting_before, 2))
            yield check_law(BACKLOG, arrangement, behind, Relation.AT_MOST, before, doubt=pace.doubt)


def pipe_of(size: PipeSize, queue: str) -> Pipe:
    """Return the pipe of the experiment, of which enriching is the slowest stage."""
    return Pipe(
        name="lab",
        source=queue,
        stages=(
            PipeStage(name=FILTER),
            PipeStage(name=ENRICH, parallelism=size.enrich_parallelism),
            PipeStage(name=PUSH, parallelism=size.push_parallelism, batch_size=size.push_batch),
        ),
        target="target",
    )


async def _run_pipe(site: PatternSite, arrangement: str, size: PipeSize) -> PipeRun:
    """Send all messages, and run the pipe until each has an end; then send some more, which wait.

    A killed pipe is killed when a random share of the messages has an end, and is started again.
    """
    queue = QUEUES[arrangement]
    names = message_names(size.messages)
    late = [f"late-{name}" for name in names[: len(names) // 10]]
    unwanted = frozenset(names[::UNWANTED_SHARE])
    refused = frozenset(names[1::REFUSED_SHARE]) - unwanted
    target = RecordingTarget(push_s=PUSH_MS / 1000, slots=SLOTS, refused=refused)
    await site.publish(addresses.REDELIVER, queue, names, arrangement)
    async with listen(target.handle) as url:
        wanted = sorted(set(names) - unwanted - refused)
        omitted = site.random.choice(wanted) if (arrangement, size.defect) == (KILLED, SeededDefect.LOSE) else ""
        ends = PipeEnds(
            site, target, _worker_spec(site, arrangement, size, target_url=url, unwanted=unwanted, omitted=omitted)
        )
        if arrangement == KILLED:
            await ends.run_until(len(wanted) * site.random.uniform(0.2, 0.6))
        await ends.run_until_all_ended(names)
    pace = None if arrangement == KILLED else _pace(ends.spec, len(names) - len(unwanted))
    await site.publish(addresses.REDELIVER, queue, late, arrangement)
    return PipeRun(await ends.account(len(names) + len(late)), pace)


def _worker_spec(site: PatternSite, arrangement: str, size: PipeSize, **fields: Any) -> PipeWorkerSpec:
    queue = QUEUES[arrangement]
    return PipeWorkerSpec.on_files(
        site.run.testbed.context.work_dir / f"{queue}-{site.token}",
        pipe=pipe_of(size, queue),
        one_thread=arrangement == WRONG,
        amqp_url=site.amqp_url,
        enrich_ms=ENRICH_MS,
        **fields,
    )


def _pace(spec: PipeWorkerSpec, items: int) -> PipePace:
    """Return the pace of an undisturbed run. Raises UserError if it was too short to have one."""
    try:
        return pace_of(spec.pipe, read_samples(Path(spec.samples_path)), items)
    except ValueError as error:
        raise UserError(f"the pace of the pipe is unknown: {error}", RETRY_HINT) from error


def _account_table(runs: Mapping[str, PipeRun]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Items by their end",
        ("arrangement", "in", "filtered", "delivered", "parked", "waiting"),
        {name: each.account for name, each in runs.items()},
        lambda own: (own.received, own.filtered, own.delivered, own.parked, own.waiting),
        "counted by their ids at the target, in the parking queue, in the source and by the filter",
    )


def _pace_table(runs: Mapping[str, PipeRun]) -> ResultTable:
    def cells(pace: PipePace) -> Iterable[object]:
        rest = (pace.capacity_per_s, pace.waiting_before, pace.waiting_behind)
        return f"{pace.per_s:.1f}", pace.slowest, *(f"{value:.1f}" for value in rest)

    return ResultTable.by_arrangement(
        "Pace of the pipe",
        ("arrangement", "items/s", "slowest stage", "its capacity/s", "waiting before it", "waiting behind it"),
        {name: each.pace for name, each in runs.items() if each.pace},
        cells,
        "the capacity follows from parallelism, batch size and the measured time of a batch",
    )


PIPES_AND_FILTERS = Experiment(
    name="pipes-and-filters",
    section=Section.PATTERNS,
    claims=("E4",),
    pattern="Pipes and Filters (EIP)",
    code="shared/prebook/patterns/pipe.py",
    claim="Stages that run in parallel have the throughput of the slowest one, and the backlog waits before it only.",
    varies="whether the stages run in parallel or in one thread; a pipe is killed midway",
    law=f"{ACCOUNTED}; {AS_FAST}; {NO_FASTER}; {BACKLOG}",
    wrong_way="one thread takes each item through all stages, so the times of the stages add up",
    expected="In parallel the pipe is as fast as its slowest stage; in one thread it is far slower. No item is lost.",
    full=PipeSize(),
    quick=PipeSize(messages=240),
    options=(
        *PATTERN_OPTIONS,
        SizeOption("enrich_parallelism", click.IntRange(1, 64), "Number of items that are enriched at a time."),
        SizeOption("push_parallelism", click.IntRange(1, 64), "Number of pushes at a time."),
        SizeOption("push_batch", click.IntRange(1, 100), "Maximum number of items of one push."),
    ),
    measure=measure,
    topology=union(direct_queue(name, queue, RECEIVER_SERVICES[0]) for name, queue in QUEUES.items()),
    worker_modules=(worker.__name__,),
)
