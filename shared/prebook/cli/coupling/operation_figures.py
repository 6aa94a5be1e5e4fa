"""Operations of a ride by plan, as a benchmark has counted them: the file of `prebook bench --only ride`."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.runtime.paths import ride_figures_file

MEASURE = "prebook bench --only ride --save-baseline FILE"
"""Command that writes the file."""


class PlanOperations(msgspec.Struct, frozen=True, kw_only=True):
    """Operations of one ride: messages, HTTP requests, statements, transactions and bytes."""

    counts: Mapping[str, float]


class OperationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Operations by plan, with the conditions of the measurement. The file has further figures, which are ignored."""

    measured_on: str
    machine: str
    versions: str
    plans: Mapping[str, PlanOperations]


def read_operation_figures(path: Path | None) -> OperationFigures | None:
    """Read the figures at ``path``, by default those of this checkout; None if nothing is given and there are none.

    Raises UserError if the file cannot be read or has no figures.
    """
    if path is None and not ride_figures_file().exists():
        return None
    try:
        return msgspec.json.decode((path or ride_figures_file()).read_bytes(), type=OperationFigures)
    except (OSError, msgspec.DecodeError) as error:
        problem = f"{path or ride_figures_file()} holds no operations of a ride: {error}"
        raise UserError(problem, f"measure them: `{MEASURE}`") from error
