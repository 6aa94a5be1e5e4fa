"""The failure matrix: counts of each plan under each fault. Values only, no I/O."""

from collections.abc import Mapping, Sequence

import msgspec


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True):
    """One plan under one fault.

    Of the rides ``offered``, booking stored those ``accepted``; of those, ``settled`` have a known outcome; of those,
    ``answered`` are confirmed or rejected.
    """

    label: str
    offered: int
    accepted: int
    settled: int
    answered: int
    lost: int
    duplicated: int
    recovery_s: float | None
    """Seconds from the end of the fault until the plan settled rides as before; null if not measurable."""

    @property
    def all_answered(self) -> bool:
        """Whether every offered ride was answered."""
        return self.answered == self.offered


class MatrixRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. If it was not measured, there are no cells and ``not_measured_reason`` is not empty."""

    scenario: str
    fault: str
    not_measured_reason: str = ""
    duration_s: float | None = None
    cells: tuple[MatrixCell, ...] = ()


def measured_rows(rows: Sequence[MatrixRow]) -> Sequence[MatrixRow]:
    """Return the rows of faults that were measured."""
    return [row for row in rows if row.cells]


def plan_labels(rows: Sequence[MatrixRow]) -> Sequence[str]:
    """Return the plans in report order; every measured row has the same ones."""
    return list(dict.fromkeys(cell.label for row in rows for cell in row.cells))


def cells_by_plan(rows: Sequence[MatrixRow]) -> Mapping[str, Sequence[tuple[MatrixRow, MatrixCell]]]:
    """Return plan -> its cells, each with its row."""
    return {
        label: [(row, cell) for row in rows for cell in row.cells if cell.label == label] for label in plan_labels(rows)
    }
