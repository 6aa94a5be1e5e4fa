"""The feed: a snapshot, then numbered deltas of absolute values, to readers that keep up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from prebook.control_room import feed as feed_module
from prebook.control_room.feed import MAX_PENDING_EVENTS, MAX_WATCHERS, Feed, TooManyWatchers, section_difference
from tests.conditions import wait_until


def decode(event: bytes) -> tuple[int, str, dict[str, Any]]:
    """Return id, type and data of an encoded event."""
    assert event.endswith(b"\n\n")
    lines = dict(line.split(": ", 1) for line in event.decode().strip().split("\n"))
    data = msgspec.json.decode(lines["data"])
    assert data["seq"] == int(lines["id"])
    return int(lines["id"]), lines["event"], data


def apply(events: list[bytes]) -> dict[str, Any]:
    """Apply a snapshot and deltas, as the page does."""
    state: dict[str, Any] = {}
    for event in events:
        _, kind, data = decode(event)
        if kind == "snapshot":
            state = data
        for name, value in data.items() if kind == "delta" else ():
            if isinstance(value, dict):
                merged = {**state.get(name, {}), **value}
                state[name] = {key: each for key, each in merged.items() if each is not None}
            else:
                state[name] = value
    return state


@pytest.fixture
async def feed() -> Feed:
    """A feed that knows figures already, as while others watch."""
    feed = Feed()
    feed.publish({"ledger": {"one_way": {"confirmed": 1}, "sync_api": {"failed": 1}}})
    return feed


async def test_a_reader_gets_a_snapshot_and_then_only_what_changes(feed: Feed) -> None:
    events = feed.follow()
    first = await anext(events)
    _, kind, snapshot = decode(first)
    assert kind == "snapshot"
    assert snapshot["ledger"] == {"one_way": {"confirmed": 1}, "sync_api": {"failed": 1}}

    feed.publish({"ledger": {"one_way": {"confirmed": 2}, "sync_api": {"failed": 1}}})
    feed.publish({"ledger": {"one_way": {"confirmed": 2}, "sync_api": {"failed": 1}}})
    feed.publish({"ledger": {"one_way": {"confirmed": 2}}})
    feed.beat()
    later = [await anext(events) for _ in range(3)]
    assert [(kind, data.get("ledger")) for _, kind, data in map(decode, later)] == [
        ("delta", {"one_way": {"confirmed": 2}}),
        ("delta", {"sync_api": None}),
        ("heartbeat", None),
    ]
    assert [decode(event)[0] for event in (first, *later)] == [snapshot["seq"] + n for n in range(4)]
    assert apply([first, *later])["ledger"] == {"one_way": {"confirmed": 2}}
    await aclose(events)


async def aclose(events: AsyncIterator[bytes]) -> None:
    await events.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_reader_that_resumes_gets_the_events_that_it_missed(feed: Feed) -> None:
    watching = feed.follow()
    seq = decode(await anext(watching))[0]
    for n in range(3):
        feed.publish({"n": n})
    resumed = feed.follow(seq + 1)
    assert [decode(await anext(resumed))[2]["n"] for _ in range(2)] == [1, 2]
    feed.publish({"n": 3})
    assert decode(await anext(resumed))[2]["n"] == 3
    for events in (watching, resumed):
        await aclose(events)


@pytest.mark.parametrize("last_event_id", [0, 1, 10**15])
async def test_a_reader_whose_last_event_is_unknown_gets_a_snapshot(feed: Feed, last_event_id: int) -> None:
    watching = feed.follow()
    await anext(watching)
    feed.publish({"n": 1})
    resumed = feed.follow(last_event_id)
    assert decode(await anext(resumed))[1] == "snapshot"
    for events in (watching, resumed):
        await aclose(events)


async def test_old_events_are_forgotten(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_HISTORY_BYTES", 500)
    watching = feed.follow()
    seq = decode(await anext(watching))[0]
    for n in range(50):
        feed.publish({"n": n})
    assert sum(len(event) for _, event in feed._history) <= 500
    resumed = feed.follow(seq)
    assert decode(await anext(resumed))[1] == "snapshot"
    for events in (watching, resumed):
        await aclose(events)


async def test_a_slow_reader_is_dropped_and_told_and_the_others_are_not(feed: Feed) -> None:
    slow, quick = feed.follow(), feed.follow()
    first = [await anext(slow), await anext(quick)]
    received = [first[1]]
    for n in range(MAX_PENDING_EVENTS + 1):
        feed.publish({"n": n})
        received.append(await anext(quick))
    assert decode(await anext(slow))[1:] == ("dropped", decode_dropped(feed))
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    assert apply(received)["n"] == MAX_PENDING_EVENTS
    assert feed.watched.is_set()
    await aclose(quick)


def decode_dropped(feed: Feed) -> Any:
    return Anything(seq=feed._seq)


class Anything:
    """Equal to data that has the same ``seq`` and a reason."""

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and other["seq"] == self.seq and "connect again" in other["reason"]

    def __hash__(self) -> int:
        return hash(self.seq)


async def test_the_first_reader_waits_for_figures() -> None:
    feed = Feed()
    events = feed.follow()
    first = asyncio.ensure_future(anext(events))
    await wait_until(feed.watched.is_set)
    assert not first.done()
    feed.publish({"n": 1})
    assert decode(await first)[2]["n"] == 1
    await aclose(events)


async def test_the_first_reader_gets_what_there_is_if_no_figures_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FIRST_FIGURES_TIMEOUT_S", 0.01)
    events = Feed().follow()
    assert decode(await anext(events))[1] == "snapshot"
    await aclose(events)


async def test_a_reader_that_returns_waits_for_new_figures(feed: Feed) -> None:
    events = feed.follow()
    await anext(events)
    await aclose(events)
    assert (feed.watched.is_set(), feed.unwatched.is_set()) == (False, True)
    again = feed.follow()
    first = asyncio.ensure_future(anext(again))
    await wait_until(feed.watched.is_set)
    assert not first.done()
    feed.publish({"n": 7})
    assert decode(await first)[2]["n"] == 7
    await aclose(again)


async def test_there_is_a_limit_of_readers(feed: Feed) -> None:
    readers = [feed.follow() for _ in range(MAX_WATCHERS)]
    for events in readers:
        await anext(events)
    with pytest.raises(TooManyWatchers):
        await anext(feed.follow())
    for events in readers:
        await aclose(events)
    assert not feed.watched.is_set()


async def test_a_closed_feed_ends_its_streams_without_a_complaint(feed: Feed) -> None:
    events = feed.follow()
    await anext(events)
    waiting = asyncio.ensure_future(anext(events, None))
    feed.close()
    assert await waiting is None


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {"x": 2}}),
        (1, 1, None),
        (1, 2, 2),
        ([1], [2], [2]),
    ],
)
def test_a_difference_has_only_what_changed(before: Any, after: Any, difference: Any) -> None:
    assert section_difference(before, after) == difference


def test_numbers_of_a_later_process_are_higher() -> None:
    from datetime import UTC, datetime, timedelta

    began = datetime(2026, 11, 30, tzinfo=UTC)
    clock: Callable[[], datetime] = lambda: began + timedelta(seconds=60)  # noqa: E731 - a constant clock
    assert Feed(clock)._seq - Feed(lambda: began)._seq == 60_000
