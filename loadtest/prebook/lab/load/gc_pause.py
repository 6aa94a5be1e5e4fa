"""No pauses of our own: a full collection of what thousands of open requests hold takes a third of a second."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

FULL_COLLECTION_DISABLED = 1_000_000
"""Collections of the middle generation before a full one: more than any run has."""
_saved_thresholds: list[tuple[int, int, int]] = []
"""The thresholds from before, once for each block that is open: blocks may overlap, and the last to end restores."""


@contextmanager
def pause_gc() -> Iterator[None]:
    """Cycles are collected while they are young; what has grown old is looked at afterwards."""
    _saved_thresholds.append(_saved_thresholds[0] if _saved_thresholds else gc.get_threshold())
    gc.freeze()
    gc.set_threshold(*_saved_thresholds[0][:2], FULL_COLLECTION_DISABLED)
    try:
        yield
    finally:
        usual = _saved_thresholds.pop()
        if not _saved_thresholds:
            gc.set_threshold(*usual)
            gc.unfreeze()
