"""Task helpers: one timer for the timeouts of many short tasks, and tasks that end with their owner."""

import asyncio

import pytest

from prebook import asyncio_tools
from prebook.asyncio_tools import CoarseTimeout, OwnedTasks
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers


@pytest.fixture(autouse=True)
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio_tools, "TIMEOUT_CHECK_INTERVAL_S", 0.01)


async def test_slow_work_times_out_and_quick_work_does_not() -> None:
    timeout = CoarseTimeout(0.05)
    never = asyncio.Event()

    async def work(done: asyncio.Event) -> str:
        with timeout():
            await done.wait()
        return "done"

    done = asyncio.Event()
    slow = asyncio.create_task(work(never))
    quick = asyncio.create_task(work(done))
    await asyncio.sleep(0)
    done.set()

    assert await quick == "done"
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        await slow
    assert slow.cancelling() == 0


async def test_a_task_can_use_the_timeout_again_after_it_timed_out() -> None:
    timeout = CoarseTimeout(0.03)
    for _ in range(3):
        with pytest.raises(TimeoutError), timeout():
            await asyncio.Event().wait()
    with timeout():
        await asyncio.sleep(0)


async def test_an_error_inside_the_timeout_is_raised_unchanged() -> None:
    with pytest.raises(KeyError), CoarseTimeout(1.0)():
        raise KeyError


async def test_a_cancellation_is_not_turned_into_a_timeout() -> None:
    async def work() -> None:
        with CoarseTimeout(5.0)():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_moment_of_the_timeout_stays_a_cancellation() -> None:
    timeout = CoarseTimeout(0.02)
    inside = asyncio.Event()

    async def work() -> None:
        with timeout():
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                asyncio.current_task().cancel()  # type: ignore[union-attr]  # as another task would at this moment

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_timer_stops_when_the_timeout_is_unused() -> None:
    timeout = CoarseTimeout(5.0)
    with timeout():
        await asyncio.sleep(0)

    await wait_until(lambda: timeout._timer is None)


async def test_a_stopped_timeout_leaves_no_timer_and_works_again() -> None:
    timeout = CoarseTimeout(0.03)
    before = tasks_and_timers()
    for _ in range(2):
        with pytest.raises(TimeoutError), timeout():
            await asyncio.Event().wait()
        timeout.stop()
        timeout.stop()
        assert tasks_and_timers() == before


async def test_stopping_waits_for_tasks_and_for_those_they_start() -> None:
    tasks = OwnedTasks()
    ended = list[str]()

    async def work(name: str, *following: str) -> None:
        await asyncio.sleep(0.01)
        for each in following:
            tasks.start(work(each))
        ended.append(name)

    tasks.start(work("first", "second"))
    await tasks.stop(timeout_s=5.0)
    assert (ended, len(tasks)) == (["first", "second"], 0)


async def test_stopping_cancels_tasks_that_take_too_long_and_waits_for_their_end() -> None:
    tasks = OwnedTasks()
    ended = list[str]()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append("cancelled")

    before = tasks_and_timers()
    tasks.start(hang())
    await tasks.stop(timeout_s=0.05)
    assert (ended, len(tasks), tasks_and_timers()) == (["cancelled"], 0, before)


async def test_a_task_cancelled_right_after_its_start_runs_to_its_first_await() -> None:
    tasks = OwnedTasks()
    released = list[str]()

    async def release_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            released.append("lease")

    tasks.start(release_at_the_end())
    await tasks.cancel()
    assert released == ["lease"]


async def test_stopping_gives_up_on_a_task_that_ignores_its_cancellation() -> None:
    tasks = OwnedTasks()
    may_end = asyncio.Event()

    async def ignore_cancellation() -> None:
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            await may_end.wait()

    tasks.start(ignore_cancellation())
    await tasks.stop(timeout_s=0.02)
    assert len(tasks) == 1
    may_end.set()
    await tasks.wait(timeout_s=1.0)
    assert len(tasks) == 0


async def test_shielded_work_outlives_its_caller() -> None:
    tasks = OwnedTasks()
    may_end = asyncio.Event()
    caller = asyncio.create_task(tasks.run_shielded(may_end.wait()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert len(tasks) == 1
    may_end.set()
    await tasks.stop(timeout_s=1.0)
    assert len(tasks) == 0
