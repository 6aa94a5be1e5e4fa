"""The exactly-once experiment as a program, and its error if a crash does not happen."""

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
"""Crash points after which the caller repeats an operation whose message is in the outbox already."""
SENT_AGAIN = {CrashPoint.BEFORE_MARK, CrashPoint.BEFORE_ACK}
"""Crash points after which one message is delivered twice."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"}
    command = [*LAB, "--json", "--seed", "11", "--operations", str(OPERATIONS)]
    completed = subprocess.run(
        command, env=env, cwd=tmp_path_factory.mktemp("lab"), capture_output=True, text=True, timeout=110, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report: dict[str, Any] = json.loads(completed.stdout)
    return report


@pytest.fixture(params=CELLS, ids=lambda cell: cell.name)
def case(request: pytest.FixtureRequest, report: dict[str, Any]) -> tuple[CrashCell, dict[str, Any]]:
    cell: CrashCell = request.param
    keys = (cell.crash_point.value, cell.dedup, cell.inbox)
    (result,) = (
        each for each in report["cells"] if (each["crash_point"], each["producer_dedup"], each["inbox"]) == keys
    )
    return cell, result


@pytest.mark.real
@pytest.mark.long
def test_each_cell_has_the_expected_verdict(case: tuple[CrashCell, dict[str, Any]]) -> None:
    cell, result = case
    assert result["verdict"] == EXPECTED_VERDICTS[cell].verdict == result["expected"]
    assert result["lost"] == 0
    assert result["duplicated"] == (result["verdict"] == "duplicated")
    assert result["exit_status"] == CRASH_EXIT_STATUS


@pytest.mark.real
@pytest.mark.long
def test_each_cell_produces_its_duplicates(case: tuple[CrashCell, dict[str, Any]]) -> None:
    cell, result = case
    enqueued = OPERATIONS + (cell.crash_point in REPEATED and not cell.dedup)
    assert result["enqueued"] == result["performed"] == enqueued, "state and message commit together"
    assert result["delivered"] == enqueued + (cell.crash_point in SENT_AGAIN)
    assert result["effects"] == (enqueued if cell.inbox else result["delivered"])


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


def test_an_external_stack_is_refused() -> None:
    completed = subprocess.run(
        LAB, env={**os.environ, "PREBOOK_STACK": "external"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert completed.returncode == 1
    assert "unset PREBOOK_STACK" in completed.stderr
