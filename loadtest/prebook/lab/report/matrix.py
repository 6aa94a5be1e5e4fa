"""The failure matrix: what each plan made of each fault. Pure, over the accounts and the scenarios of the report."""

from collections.abc import Mapping, Sequence

import msgspec


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One plan under one fault. Of the rides ``offered``, ``accepted`` were taken in by booking, ``settled`` of those
    came to an end, and ``answered`` of those to one that the business gave (confirmed or rejected)."""

    label: str
    offered: int
    accepted: int
    settled: int
    answered: int
    lost: int
    doubled: int
    recovery_s: float | None
    """From the end of the fault until the plan was back to normal; null where that could not be seen."""

    @property
    def whole(self) -> bool:
        """The fault cost no rider an answer."""
        return self.answered == self.offered


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. Without cells it was not measured, and ``why_not`` says why; otherwise that is empty."""

    scenario: str
    fault: str
    why_not: str = ""
    lasted_s: float | None = None
    cells: tuple[Cell, ...] = ()


def measured(rows: Sequence[Row]) -> Sequence[Row]:
    return [row for row in rows if row.cells]


def plans_of(rows: Sequence[Row]) -> Sequence[str]:
    """In their order; the same in every row that was measured."""
    return list(dict.fromkeys(cell.label for row in rows for cell in row.cells))


def by_plan(rows: Sequence[Row]) -> Mapping[str, Sequence[tuple[Row, Cell]]]:
    """Plan -> its cells, each with the row that it is in."""
    return {
        label: [(row, cell) for row in rows for cell in row.cells if cell.label == label] for label in plans_of(rows)
    }
