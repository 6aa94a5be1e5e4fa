"""No pauses of our own: a full collection of what thousands of open requests hold takes a third of a second."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEVER = 1_000_000
"""Collections of the middle generation before a full one: more than any run has."""
_usual: list[tuple[int, int, int]] = []
"""The thresholds from before, once for each block that is open: blocks may overlap, and the last to end restores."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Cycles are collected while they are young; what has grown old is looked at afterwards."""
    _usual.append(_usual[0] if _usual else gc.get_threshold())
    gc.freeze()
    gc.set_threshold(*_usual[0][:2], NEVER)
    try:
        yield
    finally:
        usual = _usual.pop()
        if not _usual:
            gc.set_threshold(*usual)
            gc.unfreeze()
