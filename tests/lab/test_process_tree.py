"""Memory of processes with their descendants."""

import os
import subprocess
import sys

from prebook.lab import process_tree


def test_the_memory_of_a_process_includes_its_descendants() -> None:
    script = "x = bytearray(b'1') * 40_000_000; print('ready', flush=True); input()"
    before = process_tree.read_pss_mb({"parent": os.getpid()})["parent"]
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        after = process_tree.read_pss_mb({"parent": os.getpid(), "child": child.pid, "ended": 2**22 + 1})
        child.communicate(b"\n")

    assert after.keys() == {"parent", "child"}
    assert after["child"] >= 38
    assert after["parent"] >= before + 38
