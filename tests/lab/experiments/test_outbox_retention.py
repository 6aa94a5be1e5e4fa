"""Limits of the outbox-retention experiment. No server."""

import pytest

from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.outbox_retention.experiment import (
    MAX_CLAIM_COST_RATIO,
    MAX_GROWTH,
    RetentionResult,
    TableSample,
)
from prebook.lab.experiments.outbox_retention.registration import (
    BOUNDED,
    CHEAP,
    COMPLETE,
    FEW,
    KEPT,
    growth_check,
    kept_check,
    retention_checks,
)
from prebook.lab.experiments.outbox_retention.table_probe import ClaimCost, OutboxTableSize


def sample(pages: float, megabytes: int, *, sent: int = 100, kept: int = 10, vacuums: int = 1) -> TableSample:
    size = OutboxTableSize(rows=kept, table_bytes=megabytes * 1_000_000, index_bytes=0, dead_rows=0, vacuums=vacuums)
    return TableSample(rows=sent, rate_per_s=1, size=size, claim_cost=ClaimCost(pages=pages, ms=1.0))


def run_of(*samples: TableSample, purged: int = 90) -> RetentionResult:
    return RetentionResult(retention_s=1.0, purged=purged, samples=list(samples))


def verdicts(result: RetentionResult) -> dict[str, LawVerdict]:
    return {check.law: check.verdict for check in retention_checks(result)}


FIRST = sample(100, 10, vacuums=0)


def test_an_outbox_in_which_everything_is_bounded_keeps_all_laws() -> None:
    last = sample(100 * MAX_CLAIM_COST_RATIO, 10)
    assert set(verdicts(run_of(FIRST, FIRST, last, last)).values()) == {LawVerdict.HELD}


def test_growth_is_measured_from_the_first_vacuum_with_a_full_window() -> None:
    unvacuumed, full = sample(100, 20, vacuums=0), sample(100, 200)
    grown = sample(100, int(200 * MAX_GROWTH) + 1)
    assert verdicts(run_of(FIRST, unvacuumed, full, full))[BOUNDED] is LawVerdict.HELD
    assert verdicts(run_of(FIRST, unvacuumed, full, grown))[BOUNDED] is LawVerdict.VIOLATED
    assert verdicts(run_of(FIRST, full, full, grown))[BOUNDED] is LawVerdict.VIOLATED


def test_a_vacuum_before_the_run_does_not_count() -> None:
    small = sample(100, 20, vacuums=3)
    assert verdicts(run_of(small, small, sample(100, 90, vacuums=4), sample(100, 90, vacuums=4)))[BOUNDED] is (
        LawVerdict.HELD
    )
    assert verdicts(run_of(small, small, small, small))[BOUNDED] is LawVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("last", "purged", "law"),
    [
        (sample(100 * MAX_CLAIM_COST_RATIO + 1, 10), 90, CHEAP),
        (sample(100, 10, kept=51), 49, FEW),
        (sample(100, 10), 89, COMPLETE),
    ],
)
def test_each_law_can_be_violated_alone(last: TableSample, purged: int, law: str) -> None:
    found = verdicts(run_of(FIRST, FIRST, last, last, purged=purged))
    assert [each for each, verdict in found.items() if verdict is LawVerdict.VIOLATED] == [law]


def test_without_a_vacuum_sizes_are_not_judged() -> None:
    found = verdicts(run_of(FIRST, FIRST, sample(900, 900, vacuums=0)))
    assert (found[BOUNDED], found[CHEAP]) == (LawVerdict.INCONCLUSIVE, LawVerdict.INCONCLUSIVE)
    assert (found[FEW], found[COMPLETE]) == (LawVerdict.HELD, LawVerdict.HELD)


def test_an_outbox_that_is_never_purged_is_measured_from_the_middle() -> None:
    vacuumed_late = run_of(FIRST, sample(100, 50, vacuums=0), sample(100, 80), sample(100, 90), purged=0)
    assert vacuumed_late.growth == pytest.approx(1.8)


def test_an_outbox_that_is_never_purged_violates_its_bounds_with_or_without_a_vacuum() -> None:
    last = sample(100, 100, kept=100, vacuums=0)
    checks = [
        check(KEPT, run_of(FIRST, FIRST, last, last), LawVerdict.VIOLATED) for check in (growth_check, kept_check)
    ]
    assert [check.verdict for check in checks] == [LawVerdict.VIOLATED] * 2
