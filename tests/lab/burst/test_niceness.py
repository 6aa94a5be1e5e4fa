"""The suite runs at a lower priority than the load generator."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebook.lab.burst.niceness import NICENESS, is_local, lower_priority

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'], check=True)"


@pytest.fixture
def parent() -> Iterator[int]:
    """Start a process in its own session, with a child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        yield process.pid
        process.communicate(b"\n")


def test_a_process_its_child_and_its_session_get_a_lower_priority(parent: int) -> None:
    lower_priority([parent])

    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in (parent, int(child))] == [NICENESS, NICENESS]
    session = Path(f"/proc/{parent}/autogroup")
    if session.exists():
        assert session.read_text().split()[-1] == str(NICENESS)


def test_a_process_that_has_ended_is_skipped() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    lower_priority([ended.pid])


def test_process_ids_of_another_machine_are_not_local() -> None:
    assert is_local(["http://127.0.0.1:8700", "http://127.0.0.1:8701"])
    assert not is_local(["http://127.0.0.1:8700", "http://booking:8700"])
