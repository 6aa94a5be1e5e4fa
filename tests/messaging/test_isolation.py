"""Isolation: first deliveries are handled side by side, a redelivered message alone."""

import asyncio

from prebook.messaging.recoverability.isolation import Isolation
from tests.conditions import wait_until


class Handled:
    """Records which messages are being handled; each is released by name."""

    def __init__(self) -> None:
        self.isolation = Isolation()
        self.running = set[str]()
        self._released: dict[str, asyncio.Event] = {}

    def start(self, name: str, redeliveries: int) -> asyncio.Task[None]:
        self._released[name] = asyncio.Event()
        return asyncio.create_task(self._handle(name, redeliveries))

    def release(self, name: str) -> None:
        self._released[name].set()

    async def _handle(self, name: str, redeliveries: int) -> None:
        await self.isolation.begin(redeliveries)
        self.running.add(name)
        try:
            await self._released[name].wait()
        finally:
            self.running.discard(name)
            self.isolation.end(redeliveries)


async def test_first_deliveries_are_handled_side_by_side() -> None:
    handled = Handled()
    tasks = [handled.start(name, 0) for name in ("a", "b")]
    await wait_until(lambda: handled.running == {"a", "b"})
    for name in ("a", "b"):
        handled.release(name)
    await asyncio.gather(*tasks)


async def test_a_redelivered_message_waits_for_those_being_handled_and_all_others_wait_for_it() -> None:
    handled = Handled()
    tasks = [handled.start("first", 0)]
    await wait_until(lambda: handled.running == {"first"})
    tasks += [handled.start("again", 1), handled.start("later", 0), handled.start("third time", 2)]
    await asyncio.sleep(0.02)
    assert handled.running == {"first"}
    handled.release("first")
    await wait_until(lambda: handled.running == {"again"})
    await asyncio.sleep(0.02)
    assert handled.running == {"again"}
    for name in ("again", "later", "third time"):
        handled.release(name)
    await asyncio.gather(*tasks)


async def test_a_redelivered_message_that_is_cancelled_lets_the_others_go_on() -> None:
    handled = Handled()
    again = handled.start("again", 1)
    await wait_until(lambda: handled.running == {"again"})
    later = handled.start("later", 0)
    again.cancel()
    await wait_until(lambda: handled.running == {"later"})
    handled.release("later")
    await asyncio.gather(again, later, return_exceptions=True)
