"""Settings of Python's cyclic garbage collector that exempt objects which live as long as the process.

By default the collector traverses all imported and long-lived objects again and again, at a rate set by short-lived
ones: a third of the CPU time of a relay with a thousand messages in flight. Reference counting alone frees those.
"""

import gc

GENERATION_0_THRESHOLD = 10_000
GENERATION_1_THRESHOLD = 20
GENERATION_2_THRESHOLD = 50
"""Net allocations before a collection of generation 0; then collections of a generation before the next older one."""


def freeze_long_lived_objects() -> None:
    """Freeze all present objects; objects created later are collected as before, less often. Call after start-up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GENERATION_0_THRESHOLD, GENERATION_1_THRESHOLD, GENERATION_2_THRESHOLD)
