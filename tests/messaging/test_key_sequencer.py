"""Key sequencer: a failing message blocks its key and no other; ``on_poison`` decides about later messages."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.blocked_keys import BlockedKeys
from prebook.messaging.recoverability.consumer_circuit import MAX_LONE_OUTAGES
from prebook.messaging.recoverability.key_sequencer import BEHIND_PARKED, MAX_CONCURRENT_KEYS
from prebook.patterns.message_groups import OnPoison
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.engine import create_engine
from tests.conditions import poll_until, wait_until
from tests.databases import Databases
from tests.messaging.sequenced_receiver import GROUP, MemoryBlockedKeys, Poison, Receiver, message_of

TRANSIENT_ERROR = RuntimeError("temporarily out of order")
EVERY_ATTEMPT = 99


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


@pytest.fixture(params=["memory", pytest.param("sql", marks=pytest.mark.real)])
async def blocked_keys(request: pytest.FixtureRequest) -> AsyncIterator[BlockedKeys]:
    if request.param == "memory":
        yield MemoryBlockedKeys()
        return
    engine = create_engine("notification", request.getfixturevalue("url"))
    yield SqlBlockedKeys(engine)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM blocked")
    await engine.dispose()


async def _retry_until_handled(receiver: Receiver, count: int) -> None:
    async def all_handled() -> bool:
        await receiver.retry_due()
        return len(receiver.handled) == count

    await poll_until(all_handled, 5)


async def test_a_failing_message_blocks_its_own_key_until_its_retry_and_no_other(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, fails={"a-1": (TRANSIENT_ERROR, 2)})
    await receiver.receive(
        message_of("a", 0),
        message_of("a", 1),
        message_of("b", 0),
        message_of("a", 2),
        message_of("b", 1),
        message_of("a", 3),
    )
    assert receiver.handled == ["a-0", "b-0", "b-1"]
    await _retry_until_handled(receiver, 6)
    assert receiver.handled[3:] == ["a-1", "a-2", "a-3"]
    assert receiver.tried.count("a-1") == 3
    assert receiver.tried.count("a-2") == 1, "a message behind another is not tried before it"
    assert await blocked_keys.read_status(GROUP, message_of("a", 4)) == await MemoryBlockedKeys().read_status(
        GROUP, message_of("a", 4)
    )


async def test_a_redelivered_blocked_message_is_neither_handled_nor_blocked_twice(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, fails={"a-0": (TRANSIENT_ERROR, 1)})
    await receiver.receive(message_of("a", 0), message_of("a", 1), message_of("a", 0), message_of("a", 1))
    await _retry_until_handled(receiver, 2)
    assert receiver.tried == ["a-0", "a-0", "a-1"]


async def test_continue_handles_the_messages_after_a_parked_one(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, OnPoison.CONTINUE, fails={"a-0": (TRANSIENT_ERROR, EVERY_ATTEMPT)})
    await receiver.receive(message_of("a", 0), message_of("a", 1))
    await _retry_until_handled(receiver, 1)
    await receiver.receive(message_of("a", 2))
    assert receiver.parked == [("a-0", "attempts_exhausted")]
    assert receiver.tried.count("a-0") == receiver.max_attempts
    assert receiver.handled == ["a-1", "a-2"]


async def test_block_keeps_the_key_blocked_until_the_parked_message_is_replayed(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, OnPoison.BLOCK, fails={"a-0": (Poison("no"), EVERY_ATTEMPT)})
    await receiver.receive(message_of("a", 0), message_of("a", 1), message_of("b", 0), message_of("a", 2))
    await receiver.retry_due()
    assert (receiver.handled, receiver.parked) == (["b-0"], [("a-0", "poison")])
    receiver.fails.clear()
    await receiver.receive(message_of("a", 0))
    await _retry_until_handled(receiver, 4)
    assert receiver.handled == ["b-0", "a-0", "a-1", "a-2"]


async def test_park_parks_later_messages_in_order_until_all_are_replayed(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, OnPoison.PARK, max_attempts=2, fails={"a-0": (TRANSIENT_ERROR, EVERY_ATTEMPT)})
    await receiver.receive(message_of("a", 0), message_of("a", 1), message_of("b", 0))

    async def parked() -> bool:
        await receiver.retry_due()
        return len(receiver.parked) == 2

    await poll_until(parked, 5)
    await receiver.receive(message_of("a", 2))
    assert receiver.parked == [("a-0", "attempts_exhausted"), ("a-1", BEHIND_PARKED), ("a-2", BEHIND_PARKED)]
    receiver.fails.clear()
    await receiver.receive(message_of("a", 0))
    await receiver.receive(message_of("a", 3))
    assert receiver.parked[3:] == [("a-3", BEHIND_PARKED)], "a new message must not overtake parked ones"
    await receiver.receive(message_of("a", 1), message_of("a", 2), message_of("a", 3), message_of("a", 4))
    assert receiver.handled == ["b-0", "a-0", "a-1", "a-2", "a-3", "a-4"]


async def test_replaying_a_later_message_unblocks_the_key_of_a_discarded_one(blocked_keys: BlockedKeys) -> None:
    receiver = Receiver(blocked_keys, OnPoison.PARK, fails={"a-0": (Poison("no"), EVERY_ATTEMPT)})
    await receiver.receive(message_of("a", 0), message_of("a", 1))
    await receiver.receive(message_of("a", 1))
    await receiver.receive(message_of("a", 2))
    assert receiver.handled == ["a-1", "a-2"]


async def test_a_message_whose_status_cannot_be_read_is_not_handled() -> None:
    blocked_keys = MemoryBlockedKeys(unreachable=True)
    receiver = Receiver(blocked_keys)
    with pytest.raises(Unreachable):
        await receiver.sequencer.process_or_hold(GROUP, message_of("a", 0))
    assert not receiver.tried


async def test_turns_of_a_key_are_exclusive_and_in_order_of_request() -> None:
    receiver = Receiver(MemoryBlockedKeys())
    entered = list[int]()
    active: dict[str, int] = {"a": 0, "b": 0}

    async def take_turn(key: str, number: int) -> None:
        async with receiver.sequencer.wait_turn(GROUP, key):
            active[key] += 1
            assert active[key] == 1
            entered.append(number)
            await asyncio.sleep(0.01 if number % 2 else 0)
            active[key] -= 1

    await asyncio.gather(*(take_turn("ab"[n % 2], n) for n in range(20)))
    assert [n for n in entered if not n % 2] == list(range(0, 20, 2))
    assert [n for n in entered if n % 2] == list(range(1, 20, 2))
    assert not receiver.sequencer._last_turn, "an idle key uses no memory"


async def test_a_due_retry_does_not_wait_for_the_scan_interval() -> None:
    receiver = Receiver(MemoryBlockedKeys(), fails={"a-0": (TRANSIENT_ERROR, 1)})
    loop = asyncio.create_task(receiver.sequencer.run())
    try:
        await asyncio.sleep(0)
        await receiver.receive(message_of("a", 0), message_of("a", 1))

        async def done() -> bool:
            return receiver.handled == ["a-0", "a-1"]

        await poll_until(done, 0.8)
    finally:
        loop.cancel()


async def test_a_blocked_message_that_alone_meets_an_outage_is_parked_after_its_attempts() -> None:
    receiver = Receiver(MemoryBlockedKeys(), fails={"a-0": (TRANSIENT_ERROR, 1)})
    await receiver.receive(message_of("a", 0))
    receiver.fails["a-0"] = (Unreachable("a statement took too long"), EVERY_ATTEMPT)
    outages = 0
    while not receiver.parked:
        assert outages < 50, "it is taken for an outage for ever"
        try:
            await receiver.retry_due()
        except Unreachable:
            outages += 1
        await receiver.receive(message_of(f"b{outages}", 0))
    assert receiver.parked == [("a-0", "attempts_exhausted")]
    assert outages > MAX_LONE_OUTAGES


async def test_a_blocked_message_is_not_charged_for_an_outage_that_all_meet() -> None:
    receiver = Receiver(MemoryBlockedKeys(), fails={"a-0": (TRANSIENT_ERROR, 1)})
    await receiver.receive(message_of("a", 0))
    receiver.fails["a-0"] = (Unreachable("the database is away"), EVERY_ATTEMPT)
    for _ in range(10 * MAX_LONE_OUTAGES):
        with pytest.raises(Unreachable):
            await receiver.retry_due()
    assert receiver.parked == []


async def test_a_retry_that_takes_long_delays_no_other_key() -> None:
    """Many keys of one slow system are due before the key of another."""
    hangs = asyncio.Event()
    slow = [f"s{number}" for number in range(MAX_CONCURRENT_KEYS - 1)]
    blocked_keys = MemoryBlockedKeys()
    receiver = Receiver(blocked_keys, fails={f"{key}-0": (TRANSIENT_ERROR, 1) for key in (*slow, "b")})
    await receiver.receive(*(message_of(key, 0) for key in (*slow, "b")))
    receiver.hangs = {f"{key}-0": hangs for key in slow}
    loop = asyncio.create_task(receiver.sequencer.run())
    try:
        await wait_until(lambda: receiver.handled == ["b-0"])
        receiver.fails["c-0"] = (TRANSIENT_ERROR, 1)
        await receiver.receive(message_of("c", 0))
        await wait_until(lambda: receiver.handled == ["b-0", "c-0"])
        hangs.set()
        await wait_until(lambda: len(receiver.handled) == len(slow) + 2)
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    assert blocked_keys.rows == []
