"""Full garbage collections are disabled while requests are sent."""

import gc

from prebook.lab.load.gc_pause import FULL_COLLECTION_DISABLED, pause_gc


def test_full_collections_stay_disabled_until_the_last_overlapping_block_ends() -> None:
    before = gc.get_threshold()
    first = pause_gc()
    second = pause_gc()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[2] == FULL_COLLECTION_DISABLED
    second.__exit__(None, None, None)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
