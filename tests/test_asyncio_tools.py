"""CoarseTimeout: one timer for the timeouts of many short tasks."""

import asyncio

import pytest

from prebook import asyncio_tools
from prebook.asyncio_tools import CoarseTimeout
from tests.conditions import wait_until


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
