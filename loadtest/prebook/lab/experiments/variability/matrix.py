"""The variability matrix: its document, its tables, and what decides about the exit status."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from prebook.lab.experiments.experiment import ResultTable
from prebook.lab.experiments.host import HostInfo
from prebook.lab.experiments.variability.trial import Cell, TrialResult
from prebook.lab.experiments.variability.variation import CLAIMS, Dimension, NotMeasurable

COMMON_CLAIMS = ("B1", "B3")
CELL_COLUMNS = (
    "variation", "coupling", "verdict", "offered", "answered", "failed", "parked", "late", "wrong",
    "normal after (s)", "messages per ride", "other side",
)  # fmt: skip


class MatrixRow(msgspec.Struct, frozen=True, kw_only=True):
    """A variation and its cells, one for each coupling."""

    name: str
    dimension: str
    side: str
    claims: tuple[str, ...]
    flow: str
    change: str
    """What was changed: the service, and how."""
    other_side: str
    cells: tuple[Cell, ...]
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Cells that were not measured, or differ from the expected verdict, each in one sentence."""
        return [_problem(self, cell) for cell in self.cells if not cell.is_as_expected]


class UnmeasuredRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row and direction that no run can show, with the reason."""

    dimension: str
    side: str
    detail: str
    reason: str


class VariabilityMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one run, with what a reader needs to judge and to repeat it."""

    schema: Literal["prebook.coupling/1"] = "prebook.coupling/1"
    command: str
    seed: int
    commit: str
    started_at: datetime
    seconds: float
    machine: HostInfo
    stack: dict[str, str]
    rows: tuple[MatrixRow, ...]
    not_measurable: tuple[UnmeasuredRow, ...]

    @property
    def problems(self) -> list[str]:
        """Cells that were not measured, or differ from the expected verdict, each in one sentence."""
        return [problem for row in self.rows for problem in row.problems]


def build_row(result: TrialResult) -> MatrixRow:
    """Return the row of a trial."""
    variation = result.variation
    return MatrixRow(
        name=variation.name,
        dimension=variation.dimension,
        side=variation.side,
        claims=(*COMMON_CLAIMS, CLAIMS[variation.dimension]),
        flow=variation.flow.name,
        change=f"{variation.changed_service} {variation.change}",
        other_side=variation.other_service,
        cells=tuple(result.cells),
        seconds=result.seconds,
    )


def unmeasured_rows(entries: Iterable[NotMeasurable], dimensions: Sequence[Dimension]) -> tuple[UnmeasuredRow, ...]:
    """Return the entries of ``dimensions`` that no run can show."""
    return tuple(
        UnmeasuredRow(dimension=entry.dimension, side=entry.side, detail=entry.detail, reason=entry.reason)
        for entry in entries
        if entry.dimension in dimensions
    )


def verdict_table(matrix: VariabilityMatrix) -> ResultTable:
    """Return the matrix: a row for each variation, a column for each coupling."""
    couplings = list(dict.fromkeys(cell.coupling for row in matrix.rows for cell in row.cells))
    rows = [
        (row.dimension, f"{row.side} changes", row.change, *(_verdict_text(row, coupling) for coupling in couplings))
        for row in matrix.rows
    ]
    rows += [
        (
            f"{row.dimension} {row.detail}".strip(),
            f"{row.side} changes",
            f"not measurable: {row.reason}",
            *("-" for _ in couplings),
        )
        for row in matrix.not_measurable
    ]
    return ResultTable(
        title="Variability matrix: what the other side notices",
        columns=("dimension", "side", "change", *couplings),
        rows=tuple(rows),
    )


def cell_table(matrix: VariabilityMatrix) -> ResultTable:
    """Return the figures of all measured cells."""
    rows = tuple(_cell_row(row, cell) for row in matrix.rows for cell in row.cells)
    return ResultTable(title="Cells", columns=CELL_COLUMNS, rows=rows)


def reason_table(matrix: VariabilityMatrix) -> ResultTable:
    """Return the expected verdicts that are not ``independent``, with their reasons."""
    rows = [(row.name, cell.coupling, str(cell.expected), cell.reason) for row in matrix.rows for cell in row.cells]
    return ResultTable(title="Reasons", columns=("variation", "coupling", "expected", "reason"), rows=tuple(rows))


def _verdict_text(row: MatrixRow, coupling: str) -> str:
    for cell in row.cells:
        if cell.coupling == coupling:
            mark = " (inconclusive)" if cell.is_inconclusive else ""
            mark = mark if cell.is_as_expected else f" (EXPECTED {cell.expected})"
            return f"{cell.verdict or 'not measured'}{_losses(cell)}{mark}"
    return "-"


def _losses(cell: Cell) -> str:
    """Return how many rides failed or went wrong, for the matrix; empty if none did."""
    if cell.counts is None:
        return ""
    lost = [(cell.counts.failed, "failed"), (cell.counts.wrong, "wrong")]
    return "".join(f", {count} of {cell.counts.offered} {word}" for count, word in lost if count)


def _cell_row(row: MatrixRow, cell: Cell) -> tuple[str, ...]:
    counts = msgspec.structs.astuple(cell.counts) if cell.counts else ("-",) * 6
    figures = (*counts, _or_dash(cell.normal_after_s), _or_dash(cell.messages_per_ride))
    return (row.name, cell.coupling, str(cell.verdict or "not measured"), *map(str, figures), cell.followed_by or "-")


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _problem(row: MatrixRow, cell: Cell) -> str:
    if cell.verdict is None:
        return f"{row.name}, {cell.coupling}: not measured: {cell.reason}"
    if not cell.served_again:
        return f"{row.name}, {cell.coupling}: {cell.followed_by} was changed, and rides are not answered as before"
    causes = ", ".join(f"{count} x {cause}" for cause, count in cell.causes.items())
    seen = f"{cell.verdict} ({causes})" if causes else cell.verdict
    return f"{row.name}, {cell.coupling}: {seen}, expected {cell.expected} because {cell.reason}"
