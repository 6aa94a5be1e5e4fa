"""Memory of processes with all their descendants."""

import os
import subprocess
import sys

from prebook.lab import process_tree


def test_memory_is_that_of_a_process_and_all_below_it() -> None:
    hold = "x = bytearray(b'1') * 40_000_000; print('held', flush=True); input()"
    before = process_tree.read_pss_mb({"us": os.getpid()})["us"]
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"held\n"
        both = process_tree.read_pss_mb({"us": os.getpid(), "child": child.pid, "gone": 2**22 + 1})
        child.communicate(b"\n")

    assert both.keys() == {"us", "child"}
    assert both["child"] >= 38
    assert both["us"] >= before + 38
