"""Verdicts from counts, and the expected verdict of each cell."""

import pytest

from prebook.lab.experiments.exactly_once.crash_matrix import (
    CELLS,
    EXPECTED_VERDICTS,
    CrashCell,
    CrashPoint,
    CrashVerdict,
    effect_tally,
)

OPERATIONS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("effects", "lost", "duplicated", "verdict"),
    [
        ({"a": 1, "b": 1, "c": 1}, 0, 0, CrashVerdict.EXACT),
        ({"a": 1, "b": 2, "c": 3}, 0, 2, CrashVerdict.DUPLICATED),
        ({"a": 1, "c": 1}, 1, 0, CrashVerdict.LOST),
        ({"a": 2, "c": 1}, 1, 1, CrashVerdict.LOST),
        ({"z": 5}, 3, 0, CrashVerdict.LOST),
    ],
)
def test_operations_without_exactly_one_effect_are_counted(
    effects: dict[str, int], lost: int, duplicated: int, verdict: CrashVerdict
) -> None:
    tally = effect_tally(OPERATIONS, effects)
    assert (tally.lost, tally.duplicated, tally.verdict) == (lost, duplicated, verdict)


def test_each_of_sixteen_cells_has_an_expected_verdict_with_a_reason() -> None:
    assert len(CELLS) == 16
    assert set(EXPECTED_VERDICTS) == set(CELLS)
    assert all(expectation.reason.endswith(".") for expectation in EXPECTED_VERDICTS.values())


def test_every_crash_point_is_exact_only_with_deduplication_and_inbox() -> None:
    exact = {
        switches: {cell.crash_point for cell in CELLS if (cell.dedup, cell.inbox) == switches and _is_exact(cell)}
        for switches in ((True, True), (True, False), (False, True), (False, False))
    }
    assert exact[True, True] == set(CrashPoint)
    assert all(points < set(CrashPoint) for switches, points in exact.items() if switches != (True, True))


def test_no_two_cells_share_an_operation() -> None:
    ids = [operation for cell in CELLS for operation in (*cell.operation_ids(3), cell.sentinel_operation)]
    assert len(ids) == len(set(ids)) == 64


def _is_exact(cell: CrashCell) -> bool:
    return EXPECTED_VERDICTS[cell].verdict is CrashVerdict.EXACT
