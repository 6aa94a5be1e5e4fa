"""run_forever: restarts after any failure, ends only when cancelled."""

import asyncio

from prebook.runtime.loops import run_forever
from tests.conditions import wait_until


async def test_a_loop_restarts_after_a_failure() -> None:
    runs: list[int] = []
    restarted = asyncio.Event()

    async def fail() -> None:
        runs.append(1)
        if len(runs) > 1:
            restarted.set()
        raise OSError("down")

    loop = asyncio.create_task(run_forever("test loop", fail))
    await asyncio.wait_for(restarted.wait(), 5)
    loop.cancel()
    await asyncio.wait([loop], timeout=5)
    assert loop.cancelled()


async def test_a_loop_ends_although_its_work_swallowed_the_cancellation() -> None:
    begun = asyncio.Event()

    async def swallow_cancellation() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    loop = asyncio.create_task(run_forever("test loop", swallow_cancellation))
    await asyncio.wait_for(begun.wait(), 5)
    loop.cancel()
    await asyncio.wait([loop], timeout=5)
    assert loop.cancelled()


async def test_a_loop_restarts_after_the_cancellation_of_an_awaited_future() -> None:
    runs: list[int] = []

    async def await_cancelled_future() -> None:
        runs.append(1)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    loop = asyncio.create_task(run_forever("test loop", await_cancelled_future))
    await wait_until(lambda: len(runs) > 1, timeout_s=5)
    loop.cancel()
    await asyncio.wait([loop], timeout=5)
    assert loop.cancelled()
