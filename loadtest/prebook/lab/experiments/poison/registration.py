"""Registration of the experiment: effect of one poison message on the latency of the other messages."""

from collections.abc import Iterable, Sequence

import msgspec
import rich_click as click

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
from prebook.lab.experiments.poison import consumer
from prebook.lab.experiments.poison.consumer import SERVICE
from prebook.lab.experiments.poison.experiment import run_rounds
from prebook.lab.experiments.poison.model import (
    EXPECTED_PARKED,
    MAX_ATTEMPTS,
    MAX_RATIO,
    SIDES,
    MedianRange,
    PoisonKind,
    PoisonLoad,
    PoisonRun,
    PoisonSummary,
    median_confidence,
    poison_summaries,
    queue_topology,
)
from prebook.lab.experiments.poison.requeue import RequeueCounts, requeue_poison

ONE_EFFECT = "messages beside the poison with exactly one effect = messages sent"
PARKED = "runs with exactly the expected dead letter, cause and attempts = runs"
BOUNDED = f"attempts of a poison message <= {MAX_ATTEMPTS}"
CHEAP = f"p99 of the others / p99 of the control <= {MAX_RATIO:g}"
MIN_CONFIDENCE = 0.9
"""Probability that the median lies between the lowest and the highest ratio, below which a ratio is not judged."""
REQUEUE = "requeued without limit"


class PoisonSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: messages per side and run, their rate per second, and rounds."""

    messages: int = 1000
    rate: float = 100.0
    rounds: int = 5


class PoisonDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details of the result, as --json prints them.

    ``median_confidence`` is the probability that the median ratio lies between the lowest and the highest one.
    """

    load: PoisonLoad
    median_confidence: float
    max_ratio: float
    poisons: list[PoisonSummary]
    runs: list[PoisonRun]
    requeued: RequeueCounts


async def measure(run: ExperimentRun, size: PoisonSize) -> Measurement:
    """Run every kind of poison in every round, each beside a control side without poison; then requeue one."""
    load = PoisonLoad(messages=size.messages, rate_per_s=size.rate, seed=run.seed)
    amqp_url = run.testbed.stack.broker.amqp_url
    runs = await run_rounds(run.testbed.context, amqp_url, load, size.rounds, run.log)
    run.log(REQUEUE)
    requeued = await requeue_poison(amqp_url)
    summaries = poison_summaries(runs)
    return Measurement(
        checks=[*count_checks(load, runs), *ratio_checks(summaries, size.rounds), *requeue_checks(requeued)],
        tables=[_table(load, summaries, size.rounds), _requeue_table(requeued)],
        details=PoisonDetails(
            load=load,
            median_confidence=round(median_confidence(size.rounds), 4),
            max_ratio=MAX_RATIO,
            poisons=summaries,
            runs=runs,
            requeued=requeued,
        ),
    )


def count_checks(load: PoisonLoad, runs: Sequence[PoisonRun]) -> Iterable[LawCheck]:
    """Yield the checks of each kind of poison: effects of the others, and dead letters."""
    for kind in PoisonKind:
        own = [each for each in runs if each.poison is kind]
        name = kind.replace("_", " ")
        effects = sum(each.handled - each.duplicated for each in own)
        sent = len(own) * len(SIDES) * load.messages
        yield check_law(ONE_EFFECT, name, ("exactly one effect", effects), Relation.EQUAL, ("sent", sent))
        expected = [EXPECTED_PARKED[kind]] if kind in EXPECTED_PARKED else []
        parked = sum(each.parked == expected for each in own)
        yield check_law(PARKED, name, ("parked as expected", parked), Relation.EQUAL, ("runs", len(own)))


def ratio_checks(summaries: Sequence[PoisonSummary], rounds: int) -> Iterable[LawCheck]:
    """Yield the check of each ratio, a law about time.

    The range of all rounds is judged: a median beyond it is as improbable as ``median_confidence`` says. A poison that
    kills its consumer has no bound, because its ratio is that of the restarts.
    """
    (noise,) = (each.ratio for each in summaries if each.poison is PoisonKind.NONE)
    for summary in summaries:
        if summary.poison in EXPECTED_PARKED and summary.poison is not PoisonKind.CRASHING:
            ratio = ("median ratio", summary.ratio.median)
            doubt = ratio_doubt(summary.ratio, noise, rounds)
            name = summary.poison.replace("_", " ")
            yield check_law(CHEAP, name, ratio, Relation.AT_MOST, ("", MAX_RATIO), doubt=doubt)


def ratio_doubt(ratio: MedianRange, noise: MedianRange, rounds: int) -> str:
    """Return why a ratio cannot be judged, or an empty text; ``noise`` is the ratio of two sides without poison."""
    if median_confidence(rounds) < MIN_CONFIDENCE:
        return f"too few rounds to judge a median: {rounds}"
    if noise.high > MAX_RATIO:
        return f"two sides without poison differ by up to {noise.high:g}: the machine is too busy"
    if ratio.low <= MAX_RATIO < ratio.high:
        return f"the rounds lie on both sides of the limit ({ratio.low:g} to {ratio.high:g})"
    return ""


def requeue_checks(requeued: RequeueCounts) -> Iterable[LawCheck]:
    """Yield the checks of the wrong way: attempts and parking of a poison message that is requeued at once."""
    wrong = LawVerdict.VIOLATED
    attempts = ("attempts", requeued.attempts)
    yield check_law(BOUNDED, REQUEUE, attempts, Relation.AT_MOST, ("", MAX_ATTEMPTS), expected=wrong)
    yield check_law(
        PARKED, REQUEUE, ("parked as expected", requeued.parked), Relation.EQUAL, ("runs", 1), expected=wrong
    )


def _table(load: PoisonLoad, summaries: Sequence[PoisonSummary], rounds: int) -> ResultTable:
    return ResultTable(
        title="Effect of one poison message on the others",
        columns=("poison", "cause", "attempts", "others' p99, ms", "control p99, ms", "ratio"),
        rows=tuple(_row(summary) for summary in summaries),
        caption=f"{load.messages} messages at {load.rate_per_s:g}/s a side, {rounds} rounds; median (low to high)",
    )


def _requeue_table(requeued: RequeueCounts) -> ResultTable:
    return ResultTable(
        title="A poison message that is requeued without limit",
        columns=("attempts", "attempts/s", "parked", "other messages handled"),
        rows=(
            (f"{requeued.attempts:,}", f"{requeued.attempts_per_s:,.0f}", str(requeued.parked), str(requeued.others)),
        ),
        caption=f"in {requeued.seconds:g} s; the suite makes {MAX_ATTEMPTS} attempts and parks the message",
    )


def _row(summary: PoisonSummary) -> tuple[str, ...]:
    ranges = (_range_text(each) for each in (summary.others_p99_ms, summary.control_p99_ms, summary.ratio))
    return (summary.poison.replace("_", " "), summary.cause or "-", str(summary.attempts), *ranges)


def _range_text(spread: MedianRange) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


POISON = Experiment(
    name="poison",
    section=Section.ERRORS,
    claims=("G2", "G5"),
    pattern="Dead Letter Channel (EIP)",
    code="shared/prebook/messaging/recoverability/dead_letter.py",
    claim="A message that always fails is parked after exactly its attempts, and the others do not notice it.",
    varies="the kind of poison: undecodable in three ways, always failing, killing its consumer, none",
    law=f"{ONE_EFFECT}; {PARKED}; {CHEAP}",
    wrong_way="a message that fails is requeued at once and without limit",
    expected="Each kind is parked with its cause. Requeued without limit, it comes back until somebody stops it.",
    full=PoisonSize(messages=300, rate=200.0),
    quick=PoisonSize(messages=40, rate=200.0, rounds=1),
    options=(
        SizeOption("messages", click.IntRange(20, 20_000), "Messages per side and run."),
        SizeOption("rate", FiniteRange(1, 5000), "Messages per second and side."),
        SizeOption("rounds", click.IntRange(1, 50), "Number of rounds; each runs every kind of poison once."),
    ),
    measure=measure,
    topology=queue_topology(SERVICE),
    worker_modules=(consumer.__name__,),
    time_limit_s=900.0,
    quick_time_limit_s=400.0,
)
