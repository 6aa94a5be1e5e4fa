"""`prebook chaos` as somebody runs it, on a suite of its own: a short run, and everything it promises."""

import os
from pathlib import Path

import msgspec
import pytest

from prebook.lab.chaos.judge import ChaosResult
from tests.integration.suite import PREBOOK, run_command

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(240)]
BOOKINGS, FAULTS, SEED, RATE = 500, 8, 7, 10
WITHIN_S = 200.0
"""It takes a minute and a half; a machine that is also busy with something else may take longer."""


def test_nothing_is_lost_stuck_doubled_or_misordered_while_random_faults_come(tmp_path: Path) -> None:
    wanted = {"bookings": BOOKINGS, "faults": FAULTS, "seed": SEED, "rate": RATE}
    arguments = ("chaos", "--json", *(f"--{name}={value}" for name, value in wanted.items()))
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run_command([*PREBOOK, *arguments], env, timeout_s=WITHIN_S)
    assert done.returncode == 0, done.stderr[-6000:]
    result = msgspec.json.decode(done.stdout, type=ChaosResult)
    assert result.bookings == BOOKINGS
    assert (result.lost, result.stuck, result.doubled, result.misordered) == (0, 0, 0, 0)
    assert result.wire_duplicates > 0
    assert 0 < result.worst_gap_s < 60
    assert len(result.faults) == FAULTS
    assert all(fault.took_effect for fault in result.faults)
    assert "faults drawn with seed 7" in done.stderr
    assert "passed" in done.stderr
