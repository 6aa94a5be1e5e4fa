"""Registration of the experiment: lost and duplicated effects when a producer or consumer crashes."""

from collections.abc import Iterable, Sequence

import rich_click as click

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.exactly_once import consumer, producer
from prebook.lab.experiments.exactly_once.crash_matrix import CELLS, ON_OFF
from prebook.lab.experiments.exactly_once.experiment import CrashCellResult, run_cells
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
from prebook.topology.model import event_topology

NO_LOSS = "operations without an effect = 0"
NO_DUPLICATE = "operations with more than one effect = 0"
PREDICTED = "cells whose verdict is not the predicted one = 0"
BOTH = "producer deduplication and inbox"
NEITHER = "neither deduplication nor inbox"


class ExactlyOnceSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of operations in each cell."""

    operations: int = 24


async def measure(run: ExperimentRun, size: ExactlyOnceSize) -> Measurement:
    """Run every cell: a crash point with and without deduplication and inbox."""
    results = await run_cells(run.testbed.context, CELLS, operations=size.operations, seed=run.seed, log=run.log)
    return Measurement(checks=list(effect_checks(results)), tables=[_table(results)], details=results)


def effect_checks(results: Sequence[CrashCellResult]) -> Iterable[LawCheck]:
    """Yield the checks over all crash points: exactly one effect with both means, duplicates with neither."""
    both = [each for each in results if each.producer_dedup and each.inbox]
    neither = [each for each in results if not each.producer_dedup and not each.inbox]
    unexpected = sum(each.verdict != each.expected for each in results)
    yield check_law(NO_LOSS, "all cells", ("lost", sum(each.lost for each in results)), Relation.EQUAL, ("", 0))
    yield check_law(NO_DUPLICATE, BOTH, ("duplicated", sum(each.duplicated for each in both)), Relation.EQUAL, ("", 0))
    yield check_law(
        NO_DUPLICATE,
        NEITHER,
        ("duplicated", sum(each.duplicated for each in neither)),
        Relation.EQUAL,
        ("", 0),
        expected=LawVerdict.VIOLATED,
    )
    yield check_law(PREDICTED, "all cells", ("cells", unexpected), Relation.EQUAL, ("", 0))


def _table(results: Sequence[CrashCellResult]) -> ResultTable:
    counts = ("enqueued", "delivered", "effects", "lost", "duplicated")
    return ResultTable(
        title="Exactly once, by crash point",
        columns=("crash", "producer dedup", "inbox", *counts, "verdict", "reason"),
        rows=tuple(_row(result) for result in results),
        caption=f"{results[0].operations} operations and one crash in each cell",
    )


def _row(result: CrashCellResult) -> tuple[str, ...]:
    switches = (ON_OFF[result.producer_dedup], ON_OFF[result.inbox])
    counts = (result.enqueued, result.delivered, result.effects, result.lost, result.duplicated)
    reason = result.reason if result.verdict == result.expected else f"NOT AS EXPECTED ({result.expected})"
    return (result.crash_point.replace("_", " "), *switches, *map(str, counts), str(result.verdict), reason)


EXACTLY_ONCE = Experiment(
    name="exactly-once",
    section=Section.DELIVERY,
    claims=("F10", "F11", "F12"),
    pattern="Transactional outbox; Idempotent Receiver (EIP)",
    claim="With outbox, producer deduplication and inbox, every operation has one effect, whatever crashes.",
    varies="the crash point (four), producer deduplication (on, off) and the inbox (on, off)",
    law=f"{NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="neither producer deduplication nor inbox: a repeated operation and a redelivery take effect again",
    expected="Nothing is lost in any cell. Only with both means does every crash point have exactly one effect.",
    full=ExactlyOnceSize(),
    quick=ExactlyOnceSize(operations=4),
    options=(SizeOption("operations", click.IntRange(2, 500), "Number of operations in each of the 16 cells."),),
    measure=measure,
    topology=event_topology(OFFER_SETTLED),
    worker_modules=(producer.__name__, consumer.__name__),
)
