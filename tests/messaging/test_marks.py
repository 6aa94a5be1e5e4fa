"""Marks are made one at a time, for all that were sent since the one before."""

import asyncio
from collections.abc import Collection

from prebook.messaging.outbox import sent_marker
from prebook.messaging.outbox.leases import Leases
from prebook.messaging.outbox.sent_marker import SentMarker
from tests.conditions import becomes


class Noted:
    def __init__(self) -> None:
        self.rows: list[int] = []
        self.free = asyncio.Event()
        self.fails = 0

    async def mark(self, seqs: Collection[int]) -> None:
        await self.free.wait()
        if self.fails:
            self.fails -= 1
            raise ConnectionError("away")
        self.rows += seqs


async def test_while_one_mark_is_not_answered_no_other_work_piles_up() -> None:
    noted, before = Noted(), len(asyncio.all_tasks())
    kept = SentMarker(noted.mark, Leases())
    for seq in range(5):
        kept.add(seq, ("broker", f"k{seq}"))
        await asyncio.sleep(2 * sent_marker.MARK_DELAY_S)
    assert len(asyncio.all_tasks()) <= before + 1
    noted.free.set()
    await becomes(lambda: not kept.unmarked)
    assert sorted(noted.rows) == list(range(5))


async def test_a_mark_that_fails_is_made_again() -> None:
    noted = Noted()
    noted.fails = 1
    noted.free.set()
    kept = SentMarker(noted.mark, Leases())
    kept.add(1, ("broker", "k"))
    await becomes(lambda: not kept.unmarked)
    assert noted.rows == [1]


async def test_a_mark_that_is_broken_off_leaves_none_behind() -> None:
    noted = Noted()
    kept = SentMarker(noted.mark, Leases())
    kept.add(1, ("broker", "k"))
    marking = asyncio.create_task(kept.flush())
    await asyncio.sleep(5 * sent_marker.MARK_DELAY_S)  # the timer finds that a mark is being made
    marking.cancel()
    await asyncio.wait([marking])
    noted.free.set()
    await becomes(lambda: not kept.unmarked)
    assert noted.rows == [1]
