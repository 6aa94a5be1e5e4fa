"""What a process of an experiment is told beside a service's own settings."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.lab.experiments.exactly_once.crash_matrix import CrashCell, CrashPoint

CRASH_EXIT_STATUS = 86
"""Exit status at a crash point; no shell, signal or interpreter uses it."""


class CrashPlan(msgspec.Struct, frozen=True, kw_only=True):
    """``crash_at`` is the operation whose crash point ends the process; None where it is to live."""

    cell: CrashCell
    operations: tuple[str, ...]
    crash_at: str | None
    progress_path: str
    """A file with an operation a line: those that the producer has acknowledged, or that the consumer was delivered."""

    def crash_if_planned(self, point: CrashPoint, operation: str) -> None:
        """Ends this process where it is the place to: no clean-up, no farewell to broker and database."""
        if (self.cell.crash_point, self.crash_at) == (point, operation):
            os._exit(CRASH_EXIT_STATUS)

    def record_progress(self, operation: str) -> None:
        with Path(self.progress_path).open("a") as file:
            file.write(f"{operation}\n")

    def read_progress(self) -> list[str]:
        path = Path(self.progress_path)
        return path.read_text().splitlines() if path.exists() else []


class CrashWorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: its crash plan, the settings of the service that it is, and where its output goes."""

    crash_plan: CrashPlan
    env: Mapping[str, str]
    log_file: str

    def __repr__(self) -> str:
        return "CrashWorkerSpec(<not printed: it holds secrets>)"
