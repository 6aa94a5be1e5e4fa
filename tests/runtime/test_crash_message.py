"""Crashes at one message: only that message ends the process, and only if its environment has named it."""

import subprocess
import sys
from collections.abc import Sequence

from prebook.messaging.crash_points import CrashPoint
from prebook.runtime.crash_files import EXIT_CRASHED

PROGRAM = """
import sys
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.runtime.crash_message import arm_crash_message
if sys.argv[1]:
    arm_crash_message(sys.argv[1])
for reached in sys.argv[2:]:
    point, _, message_id = reached.partition("=")
    reach(CrashPoint(point), message_id)
    print(reached, file=sys.stderr, flush=True)
"""
OTHER = f"{CrashPoint.RECEIVED}=other"
POISON = f"{CrashPoint.RECEIVED}=poison"


def run_through(armed_for: str, reached: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, armed_for, *reached]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_armed_message_ends_the_process_each_time_and_no_other_does() -> None:
    for _ in range(2):
        crashed = run_through("poison", [OTHER, f"{POISON}-2", POISON, OTHER])
        assert (crashed.returncode, crashed.stderr.split()) == (EXIT_CRASHED, [OTHER, f"{POISON}-2"])


def test_the_armed_message_ends_the_process_only_when_it_is_received() -> None:
    later = [f"{point}=poison" for point in CrashPoint if point is not CrashPoint.RECEIVED]
    done = run_through("poison", later)
    assert (done.returncode, done.stderr.split()) == (0, later)


def test_a_process_that_is_not_armed_handles_every_message() -> None:
    done = run_through("", [POISON, f"{CrashPoint.RECEIVED}=", OTHER])
    assert done.returncode == 0
    assert len(done.stderr.split()) == 3
