"""Loops that outlive every failure, but not their own end."""

import asyncio

from prebook.runtime.loops import run_forever
from tests.conditions import becomes


async def test_a_loop_goes_on_after_a_failure() -> None:
    runs: list[int] = []
    again = asyncio.Event()

    async def failing() -> None:
        runs.append(1)
        if len(runs) > 1:
            again.set()
        raise OSError("down")

    running = asyncio.create_task(run_forever("tried", failing))
    await asyncio.wait_for(again.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


async def test_a_loop_ends_though_its_work_swallowed_the_cancellation() -> None:
    begun = asyncio.Event()

    async def swallowing() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    running = asyncio.create_task(run_forever("tried", swallowing))
    await asyncio.wait_for(begun.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


async def test_a_loop_goes_on_where_what_it_waited_for_was_cancelled_and_it_was_not() -> None:
    runs: list[int] = []

    async def waiting() -> None:
        runs.append(1)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    running = asyncio.create_task(run_forever("tried", waiting))
    await becomes(lambda: len(runs) > 1, within_s=5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
