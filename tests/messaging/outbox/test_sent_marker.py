"""SentMarker: one statement at a time marks all rows sent since the previous one."""

import asyncio
from collections.abc import Collection

from prebook.messaging.outbox import sent_marker
from prebook.messaging.outbox.leases import Leases
from prebook.messaging.outbox.sent_marker import SentMarker
from tests.conditions import wait_until


class RecordedMarks:
    """Sink of marks: waits for ``may_mark`` and fails ``failures_left`` times."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.may_mark = asyncio.Event()
        self.failures_left = 0

    async def mark(self, seqs: Collection[int]) -> None:
        await self.may_mark.wait()
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionError("away")
        self.rows += seqs


async def test_marks_run_one_at_a_time_however_many_rows_are_sent() -> None:
    recorded = RecordedMarks()
    tasks_before = len(asyncio.all_tasks())
    marker = SentMarker(recorded.mark, Leases())
    for seq in range(5):
        marker.add(seq, ("broker", f"k{seq}"))
        await asyncio.sleep(2 * sent_marker.MARK_DELAY_S)
    assert len(asyncio.all_tasks()) <= tasks_before + 1
    recorded.may_mark.set()
    await wait_until(lambda: not marker.unmarked)
    assert sorted(recorded.rows) == list(range(5))


async def test_a_failed_mark_is_repeated() -> None:
    recorded = RecordedMarks()
    recorded.failures_left = 1
    recorded.may_mark.set()
    marker = SentMarker(recorded.mark, Leases())
    marker.add(1, ("broker", "k"))
    await wait_until(lambda: not marker.unmarked)
    assert recorded.rows == [1]


async def test_a_cancelled_mark_leaves_no_row_unmarked() -> None:
    recorded = RecordedMarks()
    marker = SentMarker(recorded.mark, Leases())
    marker.add(1, ("broker", "k"))
    flush = asyncio.create_task(marker.flush())
    await asyncio.sleep(5 * sent_marker.MARK_DELAY_S)  # the timer fires while the flush holds the lock
    flush.cancel()
    await asyncio.wait([flush])
    recorded.may_mark.set()
    await wait_until(lambda: not marker.unmarked)
    assert recorded.rows == [1]
