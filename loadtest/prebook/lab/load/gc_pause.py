"""Suspension of full garbage collections: with thousands of open requests, one pauses the generator for 0.3 s."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

FULL_COLLECTION_DISABLED = 1_000_000
"""Threshold of the oldest generation, in middle collections: more than any run has."""
_saved_thresholds: list[tuple[int, int, int]] = []
"""Original thresholds, one entry per open block: blocks may overlap, and the last one to end restores them."""


@contextmanager
def pause_gc() -> Iterator[None]:
    """Disable full collections while the block runs; young cycles are still collected. Blocks may overlap."""
    _saved_thresholds.append(_saved_thresholds[0] if _saved_thresholds else gc.get_threshold())
    gc.freeze()
    gc.set_threshold(*_saved_thresholds[0][:2], FULL_COLLECTION_DISABLED)
    try:
        yield
    finally:
        original = _saved_thresholds.pop()
        if not _saved_thresholds:
            gc.set_threshold(*original)
            gc.unfreeze()
