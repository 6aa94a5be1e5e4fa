"""Crashes on demand at the code's crash points."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from prebook.messaging.crash_points import CrashPoint, reach
from prebook.runtime.crash_files import EXIT_CRASHED, crash_file_name

SHARED = Path(__file__).parents[2] / "shared" / "prebook"
PROGRAM = """
import sys
from pathlib import Path
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.runtime.crash_files import arm_crash_files
arm_crash_files("pricing", Path(sys.argv[1]))
for point in sys.argv[2:]:
    reach(CrashPoint(point))
    print(point, flush=True)
"""


def run_through(directory: Path, points: Sequence[CrashPoint]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(directory), *points]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_ends_one_process_at_its_crash_point(tmp_path: Path) -> None:
    file = tmp_path / crash_file_name("pricing", CrashPoint.AFTER_COMMIT)
    file.touch()
    points = [CrashPoint.BEFORE_COMMIT, CrashPoint.AFTER_COMMIT, CrashPoint.BEFORE_ACK]

    crashed = run_through(tmp_path, points)
    assert (crashed.returncode, crashed.stdout.split()) == (EXIT_CRASHED, ["before_commit"])
    assert not file.exists()

    restarted = run_through(tmp_path, points)
    assert (restarted.returncode, restarted.stdout.split()) == (0, list(points))


def test_the_file_of_another_service_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / crash_file_name("matching", CrashPoint.BEFORE_ACK)
    file.touch()
    assert run_through(tmp_path, [CrashPoint.BEFORE_ACK]).returncode == 0
    assert file.exists()


@pytest.mark.parametrize("point", CrashPoint)
def test_every_crash_point_is_in_the_code(point: CrashPoint) -> None:
    place = re.compile(rf"\breach\(CrashPoint\.{point.name}[,)]")
    assert any(place.search(path.read_text()) for path in SHARED.rglob("*.py"))


def test_a_point_has_no_effect_where_nothing_is_armed() -> None:
    for point in CrashPoint:
        reach(point)
