"""The generator does not pause for garbage collection."""

import gc

from prebook.lab.load.gc_pause import FULL_COLLECTION_DISABLED, pause_gc


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
