"""What a process of an experiment is told beside a service's own settings."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.lab.experiments.exactly_once.crash_matrix import Cell, CrashPoint

CRASHED = 86
"""Exit status at a crash point; no shell, signal or interpreter uses it."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """``crash_at`` is the operation whose crash point ends the process; None where it is to live."""

    cell: Cell
    operations: tuple[str, ...]
    crash_at: str | None
    notes: str
    """A file with an operation a line: those that the producer has acknowledged, or that the consumer was delivered."""

    def reached(self, point: CrashPoint, operation: str) -> None:
        """Ends this process where it is the place to: no clean-up, no farewell to broker and database."""
        if (self.cell.point, self.crash_at) == (point, operation):
            os._exit(CRASHED)

    def note(self, operation: str) -> None:
        with Path(self.notes).open("a") as file:
            file.write(f"{operation}\n")

    def noted(self) -> list[str]:
        path = Path(self.notes)
        return path.read_text().splitlines() if path.exists() else []


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One process: its errand, the settings of the service that it is, and where its output goes."""

    errand: Errand
    env: Mapping[str, str]
    log: str

    def __repr__(self) -> str:
        return "Life(<not printed: it holds secrets>)"
