"""The experiment as a user runs it, and what it says when a crash does not come."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prebook.devstack.errors import UserError
from prebook.lab.experiments.exactly_once.crash_matrix import CELLS, EXPECTED_VERDICTS, CrashCell, CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import CRASH_EXIT_STATUS, CrashPlan
from prebook.lab.experiments.exactly_once.experiment import _run_process
from prebook.lab.experiments.testbed import ExperimentContext

OPERATIONS = 4
LAB = (sys.executable, "-m", "prebook.cli", "lab", "exactly-once")
REPEATED = {CrashPoint.BEFORE_PUBLISH, CrashPoint.BEFORE_MARK}
"""Where the caller repeats an operation whose message is in the outbox already."""
SENT_AGAIN = {CrashPoint.BEFORE_MARK, CrashPoint.BEFORE_ACK}
"""Where one message comes down the wire twice."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"}
    command = [*LAB, "--json", "--seed", "11", "--operations", str(OPERATIONS)]
    ran = subprocess.run(
        command, env=env, cwd=tmp_path_factory.mktemp("lab"), capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


@pytest.fixture(params=CELLS, ids=lambda cell: cell.name)
def case(request: pytest.FixtureRequest, report: dict[str, Any]) -> tuple[CrashCell, dict[str, Any]]:
    cell: CrashCell = request.param
    keys = (cell.crash_point.value, cell.dedup, cell.inbox)
    (found,) = (f for f in report["cells"] if (f["crash_point"], f["producer_dedup"], f["inbox"]) == keys)
    return cell, found


@pytest.mark.real
def test_each_cell_comes_to_what_is_expected(case: tuple[CrashCell, dict[str, Any]]) -> None:
    cell, found = case
    assert found["verdict"] == EXPECTED_VERDICTS[cell].verdict == found["expected"]
    assert found["lost"] == 0
    assert found["doubled"] == (found["verdict"] == "doubled")
    assert found["exit_status"] == CRASH_EXIT_STATUS


@pytest.mark.real
def test_the_duplicate_that_a_cell_is_about_has_arisen(case: tuple[CrashCell, dict[str, Any]]) -> None:
    cell, found = case
    staged = OPERATIONS + (cell.crash_point in REPEATED and not cell.dedup)
    assert found["enqueued"] == found["performed"] == staged, "state and message, or neither"
    assert found["delivered"] == staged + (cell.crash_point in SENT_AGAIN)
    assert found["effects"] == (staged if cell.inbox else found["delivered"])


async def test_a_crash_that_does_not_happen_is_a_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prebook.lab.experiments.exactly_once.experiment.WORKERS", {"matching": repr}
    )  # a process that ends in peace
    errand = CrashPlan(cell=CELLS[0], operations=("a", "b"), crash_at="b", progress_path=str(tmp_path / "notes"))
    with pytest.raises(UserError, match=f"ended with status 0; the crash at b was to end it with {CRASH_EXIT_STATUS}"):
        await _run_process(
            ExperimentContext("", {"matching": {}}, tmp_path), "matching", errand, expected_status=CRASH_EXIT_STATUS
        )


def test_parts_that_somebody_else_runs_are_left_alone() -> None:
    ran = subprocess.run(
        LAB, env={**os.environ, "PREBOOK_STACK": "external"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert "unset PREBOOK_STACK" in ran.stderr
