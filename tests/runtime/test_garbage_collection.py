"""freeze_long_lived_objects: present objects are exempt from collection, later cycles are collected."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from prebook.runtime.garbage_collection import GENERATION_0_THRESHOLD, freeze_long_lived_objects

class Node:
    pass

def cycle():
    node = Node()
    node.self_reference = node
    return weakref.ref(node)

before = cycle()
freeze_long_lived_objects()
print(before() is None, gc.get_freeze_count() > 1_000)
later = cycle()
allocated = [[] for _ in range(2 * GENERATION_0_THRESHOLD)]
print(later() is None)
"""


def test_frozen_objects_are_not_collected_and_later_cycles_are() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["True", "True", "True"]
