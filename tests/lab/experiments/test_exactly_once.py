"""Errors of experiments before and during their runs: no crash, and servers that the lab does not own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prebook.devstack.errors import UserError
from prebook.lab.experiments.exactly_once.crash_matrix import CELLS
from prebook.lab.experiments.exactly_once.crash_plan import CRASH_EXIT_STATUS, CrashPlan
from prebook.lab.experiments.exactly_once.experiment import _run_process
from prebook.lab.experiments.testbed import ExperimentContext

LAB = (sys.executable, "-m", "prebook.cli", "lab", "run", "exactly-once")


async def test_a_crash_that_does_not_happen_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "prebook.lab.experiments.exactly_once.experiment.WORKERS", {"matching": repr}
    )  # a process that exits without a crash
    crash_plan = CrashPlan(cell=CELLS[0], operations=("a", "b"), crash_at="b", progress_path=str(tmp_path / "notes"))
    with pytest.raises(
        UserError, match=f"exited with status 0; {CRASH_EXIT_STATUS}, the status of its crash at b, was expected"
    ):
        await _run_process(
            ExperimentContext("", {"matching": {}}, tmp_path), "matching", crash_plan, expected_status=CRASH_EXIT_STATUS
        )


def test_an_external_stack_is_refused(tmp_path: Path) -> None:
    completed = subprocess.run(
        (*LAB, "--report", str(tmp_path)),
        env={**os.environ, "PREBOOK_STACK": "external"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 1
    assert "unset PREBOOK_STACK" in completed.stderr
