"""A failing message holds its key and no other, and each setting decides what comes after a parked one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.blocked_keys import BlockedKeys
from prebook.messaging.recoverability.key_sequencer import BEHIND_PARKED
from prebook.patterns.message_groups import OnPoison
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.engine import create_engine
from tests.conditions import eventually
from tests.databases import Databases
from tests.messaging.sequenced_receiver import GROUP, MemoryBlockedKeys, Poison, Receiver, said

FLAKY = RuntimeError("not this time")
ALWAYS = 99


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.of("notification")


@pytest.fixture(params=["memory", pytest.param("sql", marks=pytest.mark.real)])
async def holds(request: pytest.FixtureRequest) -> AsyncIterator[BlockedKeys]:
    if request.param == "memory":
        yield MemoryBlockedKeys()
        return
    engine = create_engine("notification", request.getfixturevalue("url"))
    yield SqlBlockedKeys(engine)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM blocked")
    await engine.dispose()


async def _all_due(receiver: Receiver, handled: int) -> None:
    async def done() -> bool:
        await receiver.settle()
        return len(receiver.handled) == handled

    await eventually(done, 5)


async def test_a_failing_message_holds_its_own_key_until_its_retry_and_no_other(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, fails={"a-1": (FLAKY, 2)})
    await receiver.take(said("a", 0), said("a", 1), said("b", 0), said("a", 2), said("b", 1), said("a", 3))
    assert receiver.handled == ["a-0", "b-0", "b-1"]
    await _all_due(receiver, 6)
    assert receiver.handled[3:] == ["a-1", "a-2", "a-3"]
    assert receiver.seen.count("a-1") == 3
    assert receiver.seen.count("a-2") == 1, "what waits behind another is not tried before its time"
    assert await holds.read_status(GROUP, said("a", 4)) == await MemoryBlockedKeys().read_status(GROUP, said("a", 4))


async def test_what_comes_again_while_it_is_held_is_neither_handled_nor_held_twice(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, fails={"a-0": (FLAKY, 1)})
    await receiver.take(said("a", 0), said("a", 1), said("a", 0), said("a", 1))
    await _all_due(receiver, 2)
    assert receiver.seen == ["a-0", "a-0", "a-1"]


async def test_go_on_handles_what_comes_after_a_parked_message(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, OnPoison.CONTINUE, fails={"a-0": (FLAKY, ALWAYS)})
    await receiver.take(said("a", 0), said("a", 1))
    await _all_due(receiver, 1)
    await receiver.take(said("a", 2))
    assert receiver.parked == [("a-0", "attempts_exhausted")]
    assert receiver.seen.count("a-0") == receiver.max_attempts
    assert receiver.handled == ["a-1", "a-2"]


async def test_hold_keeps_the_key_until_the_parked_message_has_been_replayed(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, OnPoison.BLOCK, fails={"a-0": (Poison("no"), ALWAYS)})
    await receiver.take(said("a", 0), said("a", 1), said("b", 0), said("a", 2))
    await receiver.settle()
    assert (receiver.handled, receiver.parked) == (["b-0"], [("a-0", "poison")])
    receiver.fails.clear()
    await receiver.take(said("a", 0))
    await _all_due(receiver, 4)
    assert receiver.handled == ["b-0", "a-0", "a-1", "a-2"]


async def test_park_parks_what_comes_after_it_in_order_until_all_of_it_has_been_replayed(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, OnPoison.PARK, max_attempts=2, fails={"a-0": (FLAKY, ALWAYS)})
    await receiver.take(said("a", 0), said("a", 1), said("b", 0))

    async def parked() -> bool:
        await receiver.settle()
        return len(receiver.parked) == 2

    await eventually(parked, 5)
    await receiver.take(said("a", 2))
    assert receiver.parked == [("a-0", "attempts_exhausted"), ("a-1", BEHIND_PARKED), ("a-2", BEHIND_PARKED)]
    receiver.fails.clear()
    await receiver.take(said("a", 0))
    await receiver.take(said("a", 3))
    assert receiver.parked[3:] == [("a-3", BEHIND_PARKED)], "it must not overtake what is still parked"
    await receiver.take(said("a", 1), said("a", 2), said("a", 3), said("a", 4))
    assert receiver.handled == ["b-0", "a-0", "a-1", "a-2", "a-3", "a-4"]


async def test_a_replay_without_what_was_discarded_frees_the_key(holds: BlockedKeys) -> None:
    receiver = Receiver(holds, OnPoison.PARK, fails={"a-0": (Poison("no"), ALWAYS)})
    await receiver.take(said("a", 0), said("a", 1))
    await receiver.take(said("a", 1))
    await receiver.take(said("a", 2))
    assert receiver.handled == ["a-1", "a-2"]


async def test_a_message_whose_place_cannot_be_kept_stays_in_hand() -> None:
    holds = MemoryBlockedKeys(away=True)
    receiver = Receiver(holds)
    with pytest.raises(Unreachable):
        await receiver.sequencer.process_or_stay(GROUP, said("a", 0))
    assert not receiver.seen


async def test_within_a_key_one_is_at_work_at_a_time_in_the_order_of_asking() -> None:
    receiver, entered = Receiver(MemoryBlockedKeys()), list[int]()
    at_work: dict[str, int] = {"a": 0, "b": 0}

    async def work(key: str, number: int) -> None:
        async with receiver.sequencer.wait_turn(GROUP, key):
            at_work[key] += 1
            assert at_work[key] == 1
            entered.append(number)
            await asyncio.sleep(0.01 if number % 2 else 0)
            at_work[key] -= 1

    await asyncio.gather(*(work("ab"[n % 2], n) for n in range(20)))
    assert [n for n in entered if not n % 2] == list(range(0, 20, 2))
    assert [n for n in entered if n % 2] == list(range(1, 20, 2))
    assert not receiver.sequencer._last_turn, "a key that is idle costs nothing"


async def test_the_loop_tries_again_when_a_pause_is_over_without_waiting_for_its_look_round() -> None:
    receiver = Receiver(MemoryBlockedKeys(), fails={"a-0": (FLAKY, 1)})
    loop = asyncio.create_task(receiver.sequencer.run())
    try:
        await asyncio.sleep(0)
        await receiver.take(said("a", 0), said("a", 1))

        async def done() -> bool:
            return receiver.handled == ["a-0", "a-1"]

        await eventually(done, 0.8)
    finally:
        loop.cancel()
