"""A limit of time that many short tasks share."""

import asyncio

import pytest

from prebook.messaging import asyncio_tools
from prebook.messaging.asyncio_tools import CoarseTimeout
from tests.conditions import becomes


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio_tools, "TIMEOUT_CHECK_INTERVAL_S", 0.01)


async def test_what_takes_too_long_is_ended_and_what_does_not_is_left_alone() -> None:
    one, never = CoarseTimeout(0.05), asyncio.Event()

    async def work(done: asyncio.Event) -> str:
        with one():
            await done.wait()
        return "done"

    done = asyncio.Event()
    slow, quick = asyncio.create_task(work(never)), asyncio.create_task(work(done))
    await asyncio.sleep(0)
    done.set()

    assert await quick == "done"
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        await slow
    assert slow.cancelling() == 0


async def test_a_task_that_was_too_late_may_go_on_and_be_in_it_again() -> None:
    one = CoarseTimeout(0.03)
    for _ in range(3):
        with pytest.raises(TimeoutError), one():
            await asyncio.Event().wait()
    with one():
        await asyncio.sleep(0)


async def test_what_it_raises_itself_is_what_is_heard() -> None:
    with pytest.raises(KeyError), CoarseTimeout(1.0)():
        raise KeyError


async def test_a_cancellation_from_elsewhere_is_one() -> None:
    async def work() -> None:
        with CoarseTimeout(5.0)():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_limit_is_not_taken_for_it() -> None:
    one, inside = CoarseTimeout(0.02), asyncio.Event()

    async def work() -> None:
        with one():
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                asyncio.current_task().cancel()  # type: ignore[union-attr]  # as somebody else does in that moment

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_stops_looking_once_nobody_is_in_it() -> None:
    one = CoarseTimeout(5.0)
    with one():
        await asyncio.sleep(0)

    await becomes(lambda: one._timer is None)
