"""Files of results: one JSON document per experiment, replaced by its next run."""

from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.experiments.result import ExperimentResult
from prebook.lab.report.writer import prepare_folder, replace_file

__all__ = ["prepare_folder", "read_results", "write_result"]


def write_result(folder: Path, result: ExperimentResult) -> Path:
    """Write a result to ``folder``; return its path."""
    path = folder / f"{result.name}.json"
    replace_file(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def read_results(folder: Path) -> list[ExperimentResult]:
    """Return the last result of each experiment in ``folder``.

    Raises:
        UserError: A file holds no result.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(msgspec.json.decode(path.read_bytes(), type=ExperimentResult))
        except (OSError, msgspec.DecodeError) as error:
            problem = f"{path} holds no result of an experiment ({error})"
            raise UserError(problem, "remove it, or name another folder") from error
    return results
