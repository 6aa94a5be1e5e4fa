"""What lets the generator offer on time: the suite gives way to it, and it does not stop to clean up."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebook.lab.burst.niceness import NICENESS, is_local, lower_priority
from prebook.lab.load.gc_pause import FULL_COLLECTION_DISABLED, pause_gc

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'], check=True)"


@pytest.fixture
def parent() -> Iterator[int]:
    """A process in a session of its own, with a child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        yield process.pid
        process.communicate(b"\n")


def test_a_process_its_child_and_its_session_give_way(parent: int) -> None:
    lower_priority([parent])

    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in (parent, int(child))] == [NICENESS, NICENESS]
    session = Path(f"/proc/{parent}/autogroup")
    if session.exists():
        assert session.read_text().split()[-1] == str(NICENESS)


def test_who_is_gone_is_passed_over() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    lower_priority([gone.pid])


def test_process_ids_of_another_machine_mean_nothing_here() -> None:
    assert is_local(["http://127.0.0.1:8700", "http://127.0.0.1:8701"])
    assert not is_local(["http://127.0.0.1:8700", "http://booking:8700"])


def test_nothing_old_is_collected_until_all_is_offered() -> None:
    before = gc.get_threshold()
    one = pause_gc()
    other = pause_gc()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold()[2] == FULL_COLLECTION_DISABLED
    other.__exit__(None, None, None)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
