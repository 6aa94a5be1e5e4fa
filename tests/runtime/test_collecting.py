"""The cycle collector leaves alone what stays, and still takes what goes."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from prebook.runtime.garbage_collection import GENERATION_0_THRESHOLD, freeze_long_lived_objects

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

before = cycle()
freeze_long_lived_objects()
print(before() is None, gc.get_freeze_count() > 1_000)
made = cycle()
kept = [[] for _ in range(2 * GENERATION_0_THRESHOLD)]
print(made() is None)
"""


def test_what_was_there_is_not_looked_through_again_and_later_cycles_are_collected() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["True", "True", "True"]
