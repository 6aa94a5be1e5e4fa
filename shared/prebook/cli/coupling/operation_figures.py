"""Operations of a ride by plan, as benchmarks have counted them: the files of `prebook bench --only ride`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError

MEASURE = "prebook bench --only ride --save-baseline FILE"
"""Command that writes a file."""


class PlanOperations(msgspec.Struct, frozen=True, kw_only=True):
    """Operations of one ride with one plan, and where and when they were counted."""

    plan: str
    counts: Mapping[str, float]
    """Messages, HTTP requests, statements, transactions and bytes."""
    source: str
    """Name of the file."""
    measured_on: str
    machine: str
    versions: str


class _PlanFigures(msgspec.Struct, frozen=True):
    """Figures of a plan in a file; those that are not operations are ignored."""

    counts: Mapping[str, float]


class _FigureFile(msgspec.Struct, frozen=True):
    measured_on: str
    machine: str
    versions: str
    plans: Mapping[str, _PlanFigures]


def read_plan_operations(paths: Iterable[Path]) -> list[PlanOperations]:
    """Return the operations of each plan from the newest of the files that has it, sorted by plan.

    Raises UserError if a file cannot be read or has no operations.
    """
    newest: dict[str, PlanOperations] = {}
    for path in paths:
        for found in _read(path):
            if found.plan not in newest or newest[found.plan].measured_on < found.measured_on:
                newest[found.plan] = found
    return sorted(newest.values(), key=lambda found: found.plan)


def _read(path: Path) -> list[PlanOperations]:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_FigureFile)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} holds no operations of a ride: {error}", f"measure them: `{MEASURE}`") from error
    return [
        PlanOperations(
            plan=plan,
            counts=figures.counts,
            source=path.name,
            measured_on=file.measured_on,
            machine=file.machine,
            versions=file.versions,
        )
        for plan, figures in file.plans.items()
    ]
