"""SentMarker: one statement at a time marks all rows sent since the previous one."""

import asyncio
from collections.abc import Collection

import pytest

from prebook.messaging.outbox import sent_marker
from prebook.messaging.outbox.leases import Leases
from prebook.messaging.outbox.sent_marker import SentMarker
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers


class RecordedMarks:
    """Sink of marks: waits for ``may_mark`` and fails ``failures_left`` times."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.may_mark = asyncio.Event()
        self.failures_left = 0
        self.begun = 0

    async def mark(self, seqs: Collection[int]) -> None:
        self.begun += 1
        await self.may_mark.wait()
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionError("away")
        self.rows += seqs


async def test_marks_run_one_at_a_time_however_many_rows_are_sent() -> None:
    recorded = RecordedMarks()
    tasks_before = len(asyncio.all_tasks())
    marker = SentMarker(recorded.mark, Leases())
    marker.start()
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
    marker.start()
    marker.add(1, ("broker", "k"))
    await wait_until(lambda: not marker.unmarked)
    assert recorded.rows == [1]


async def test_a_cancelled_mark_leaves_no_row_unmarked() -> None:
    recorded = RecordedMarks()
    marker = SentMarker(recorded.mark, Leases())
    marker.start()
    marker.add(1, ("broker", "k"))
    flush = asyncio.create_task(marker.flush())
    await asyncio.sleep(5 * sent_marker.MARK_DELAY_S)  # the timer fires while the flush holds the lock
    flush.cancel()
    await asyncio.wait([flush])
    recorded.may_mark.set()
    await wait_until(lambda: not marker.unmarked)
    assert recorded.rows == [1]


async def test_stopping_marks_what_was_sent_and_leaves_no_timer() -> None:
    recorded = RecordedMarks()
    recorded.may_mark.set()
    marker = SentMarker(recorded.mark, Leases())
    before = tasks_and_timers()
    marker.start()
    marker.add(1, ("broker", "k"))
    await marker.stop(timeout_s=1.0)
    assert recorded.rows == [1]
    assert tasks_and_timers() == before


async def test_stopping_waits_for_the_running_flush() -> None:
    recorded = RecordedMarks()
    marker = SentMarker(recorded.mark, Leases())
    before = tasks_and_timers()
    marker.start()
    marker.add(1, ("broker", "k"))
    await wait_until(lambda: recorded.begun == 1)
    marker.add(2, ("broker", "k"))
    asyncio.get_running_loop().call_later(0.05, recorded.may_mark.set)
    await marker.stop(timeout_s=1.0)
    assert recorded.rows == [1, 2]
    assert tasks_and_timers() == before


@pytest.mark.parametrize("hangs", [True, False])
async def test_rows_that_could_not_be_marked_at_the_stop_are_marked_after_the_next_start(*, hangs: bool) -> None:
    recorded = RecordedMarks()
    marker = SentMarker(recorded.mark, Leases())
    before = tasks_and_timers()
    marker.start()
    marker.add(1, ("broker", "k"))
    if not hangs:
        recorded.failures_left = 1
        recorded.may_mark.set()
    await marker.stop(timeout_s=0.05)
    marker.add(2, ("broker", "k"))
    assert tasks_and_timers() == before, "neither a retry nor the row added since has a timer"
    assert list(marker.unmarked) == [1, 2]

    recorded.may_mark.set()
    marker.start()
    await wait_until(lambda: recorded.rows == [1, 2])
    await marker.stop(timeout_s=1.0)
