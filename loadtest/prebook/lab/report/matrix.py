"""The failure matrix: what each plan made of each fault. Pure, over the accounts and the scenarios of the report."""

from collections.abc import Mapping, Sequence

import msgspec


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True):
    """One plan under one fault. Of the rides ``offered``, ``accepted`` were taken in by booking, ``settled`` of those
    came to an end, and ``answered`` of those to one that the business gave (confirmed or rejected)."""

    label: str
    offered: int
    accepted: int
    settled: int
    answered: int
    lost: int
    duplicated: int
    recovery_s: float | None
    """From the end of the fault until the plan was back to normal; null where that could not be seen."""

    @property
    def all_answered(self) -> bool:
        """The fault cost no rider an answer."""
        return self.answered == self.offered


class MatrixRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. Without cells it was not measured, and ``not_measured_reason`` says why; otherwise that is empty."""

    scenario: str
    fault: str
    not_measured_reason: str = ""
    duration_s: float | None = None
    cells: tuple[MatrixCell, ...] = ()


def measured_rows(rows: Sequence[MatrixRow]) -> Sequence[MatrixRow]:
    return [row for row in rows if row.cells]


def plan_labels(rows: Sequence[MatrixRow]) -> Sequence[str]:
    """In their order; the same in every row that was measured."""
    return list(dict.fromkeys(cell.label for row in rows for cell in row.cells))


def cells_by_plan(rows: Sequence[MatrixRow]) -> Mapping[str, Sequence[tuple[MatrixRow, MatrixCell]]]:
    """Plan -> its cells, each with the row that it is in."""
    return {
        label: [(row, cell) for row in rows for cell in row.cells if cell.label == label] for label in plan_labels(rows)
    }
