"""Crash plan and arguments of a worker process of the exactly-once experiment."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.lab.experiments.exactly_once.crash_matrix import CrashCell, CrashPoint

CRASH_EXIT_STATUS = 86
"""Exit status at a crash point; shells, signals and the interpreter do not use it."""


class CrashPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Operations of a worker, and the operation ``crash_at`` during which it crashes; None for no crash."""

    cell: CrashCell
    operations: tuple[str, ...]
    crash_at: str | None
    progress_path: str
    """File with one operation per line: acknowledged ones of the producer, or delivered ones of the consumer."""

    def crash_if_planned(self, point: CrashPoint, operation: str) -> None:
        """Exit this process without any clean-up if the plan names this point and operation."""
        if (self.cell.crash_point, self.crash_at) == (point, operation):
            os._exit(CRASH_EXIT_STATUS)

    def record_progress(self, operation: str) -> None:
        """Append an operation to the progress file."""
        with Path(self.progress_path).open("a") as file:
            file.write(f"{operation}\n")

    def read_progress(self) -> list[str]:
        """Return the operations in the progress file."""
        path = Path(self.progress_path)
        return path.read_text().splitlines() if path.exists() else []


class CrashWorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one worker process: crash plan, environment of its service, and log file."""

    crash_plan: CrashPlan
    env: Mapping[str, str]
    log_file: str

    def __repr__(self) -> str:
        return "CrashWorkerSpec(<not printed: it holds secrets>)"
