"""The observer reads its sources while somebody looks, and does nothing otherwise."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from prebook.control_room import observer as observer_module
from prebook.control_room.feed import Feed
from prebook.control_room.observer import Observer
from prebook.messaging.errors import Unreachable
from tests.conditions import wait_until
from tests.control_room.test_feed import aclose, decode


class CountingSource:
    """A source that counts its readings, and fails if told."""

    interval_s = 0.001

    def __init__(self, name: str, failure: Exception | None = None) -> None:
        self.name = name
        self.failure = failure
        self.readings = 0

    async def read(self) -> Mapping[str, Any]:
        self.readings += 1
        if self.failure:
            raise self.failure
        return {self.name: {"readings": self.readings}}


@pytest.fixture(autouse=True)
def _quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_module, "HEARTBEAT_INTERVAL_S", 0.005)


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    feed = Feed()
    yield feed
    feed.close()


async def test_nothing_is_read_while_nobody_looks(feed: Feed) -> None:
    source = CountingSource("metrics")
    task = asyncio.create_task(Observer(feed, [source]).run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.readings == 0
    tasks_at_rest = asyncio.all_tasks()

    events = feed.follow()
    assert decode(await anext(events))[2]["metrics"]["readings"] >= 1
    await wait_until(lambda: source.readings > 3)
    await aclose(events)
    await wait_until(lambda: asyncio.all_tasks() == tasks_at_rest)
    stopped_at = source.readings

    again = feed.follow()
    assert decode(await anext(again))[2]["metrics"]["readings"] > stopped_at
    await aclose(again)
    task.cancel()
    await asyncio.wait([task])


async def test_a_source_that_fails_is_named_and_leaves_the_others_alone(feed: Feed) -> None:
    away = CountingSource("queues", Unreachable("no broker at 127.0.0.1", reason="unreachable"))
    broken = CountingSource("ledger", ValueError("bad page"))
    good = CountingSource("metrics")
    task = asyncio.create_task(Observer(feed, [away, broken, good]).run())
    events = feed.follow()
    state: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while len(state.get("sources", {})) < 3 or state["metrics"]["readings"] < 3:
            _, _, data = decode(await anext(events))
            for name in ("sources", "metrics"):
                state[name] = {**state.get(name, {}), **data.get(name, {})}
        assert state["sources"]["queues"] == "no broker at 127.0.0.1"
        assert "bad page" in state["sources"]["ledger"]
        assert state["sources"]["metrics"] == ""

        away.failure = None
        while state["sources"]["queues"]:
            state["sources"] |= decode(await anext(events))[2].get("sources", {})
    await aclose(events)
    task.cancel()
    await asyncio.wait([task])


async def test_heartbeats_come_even_if_no_figure_does(feed: Feed) -> None:
    task = asyncio.create_task(Observer(feed, []).run())
    feed.publish({})
    events = feed.follow()
    async with asyncio.timeout(10):
        kinds = [decode(await anext(events))[1] for _ in range(3)]
    assert kinds == ["snapshot", "heartbeat", "heartbeat"]
    await aclose(events)
    task.cancel()
    await asyncio.wait([task])
