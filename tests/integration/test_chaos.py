"""`prebook chaos` as a program, on its own suite: a short run with all of its guarantees."""

import os
from pathlib import Path

import msgspec
import pytest

from prebook.lab.chaos.judge import ChaosResult
from tests.integration.suite import PREBOOK, run_command

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(240)]
BOOKINGS = 500
FAULTS = 8
SEED = 7
RATE = 10
TIMEOUT_S = 200.0
"""The run takes a minute and a half, and longer on a busy machine."""


def test_random_faults_lose_block_duplicate_and_misorder_no_booking(tmp_path: Path) -> None:
    options = {"bookings": BOOKINGS, "faults": FAULTS, "seed": SEED, "rate": RATE}
    arguments = ("chaos", "--json", *(f"--{name}={value}" for name, value in options.items()))
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run_command([*PREBOOK, *arguments], env, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-6000:]
    result = msgspec.json.decode(done.stdout, type=ChaosResult)
    assert result.bookings == BOOKINGS
    assert (result.lost, result.stuck, result.duplicated, result.misordered) == (0, 0, 0, 0)
    assert result.unexplained == sum(end.unexplained for end in result.ends) == 0
    assert result.wire_duplicates > 0
    assert 0 < result.worst_gap_s < 60
    assert len(result.faults) == FAULTS
    assert all(fault.took_effect for fault in result.faults)
    assert "faults drawn with seed 7" in done.stderr
    assert "passed" in done.stderr
