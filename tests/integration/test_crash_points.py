"""`prebook lab run crash-points` as a program: every crash point of the code in every service, and some pairs."""

import os
from pathlib import Path

import msgspec
import pytest

from prebook.lab.experiments.crash_points.cases import list_sites
from prebook.lab.experiments.crash_points.verdict import CrashReport
from prebook.lab.experiments.result import ExperimentResult
from tests.conftest import Figure
from tests.integration.suite import PREBOOK, run_command

TIMEOUT_S = 1_500.0
"""A crash and the restart take four seconds on a quiet machine with two cores."""
PAIRS = 12
pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(TIMEOUT_S + 60)]


def test_no_crash_loses_blocks_duplicates_or_misorders_a_ride(tmp_path: Path, figure: Figure) -> None:
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    arguments = ("lab", "run", "crash-points", "--pairs", str(PAIRS), "--json", "--report", str(tmp_path / "results"))
    done = run_command([*PREBOOK, *arguments], env, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result = msgspec.json.decode(done.stdout, type=ExperimentResult)
    found = msgspec.convert(result.details, CrashReport)
    figure(f"{found.crashes} crashes, {found.rides} rides, not reached: {', '.join(found.unreached) or 'none'}")
    assert found.problems == ()
    assert found.cases == len(list_sites()) + PAIRS
    assert found.pairs > 0
