import asyncio

from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit
from tests.conditions import becomes

AWAY = Unreachable("the database is away")


async def test_single_failures_shut_nothing() -> None:
    gate = ConsumerCircuit(threshold=3)
    for _ in range(10):
        await gate.wait_until_closed()
        assert gate.record_failure(ValueError("a bug that this message meets")) is False
        gate.record_success()

    assert not gate.is_open


async def test_when_everything_fails_it_shuts_and_one_probe_goes_at_a_time() -> None:
    gate, probes = ConsumerCircuit(threshold=3, cool_down_s=0.05), list[int]()
    for _ in range(3):
        gate.record_failure(ValueError("the same for everybody"))
    assert gate.is_open

    async def handle(number: int) -> None:
        await gate.wait_until_closed()
        probes.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(5)]
    await becomes(lambda: len(probes) == 1)
    gate.record_failure(ValueError("still"))
    assert len(probes) == 1
    await becomes(lambda: len(probes) == 2)
    gate.record_success()
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=1.0)

    assert sorted(probes) == [0, 1, 2, 3, 4]
    assert not gate.is_open


async def test_what_we_stand_on_being_away_shuts_it_at_once_and_is_not_the_messages_fault() -> None:
    gate = ConsumerCircuit(threshold=50, cool_down_s=0.02)
    handled, tries = 0, 0

    async def handle() -> None:
        nonlocal handled, tries
        while True:
            await gate.wait_until_closed()
            tries += 1
            if tries <= 4 and gate.record_failure(AWAY):
                continue
            gate.record_success()
            handled += 1
            return

    await asyncio.wait_for(asyncio.gather(*(handle() for _ in range(30))), timeout=2.0)

    assert (handled, tries) == (30, 34)


async def test_a_probe_that_never_ends_does_not_hold_the_others_for_ever() -> None:
    gate, passed = ConsumerCircuit(cool_down_s=0.03), list[int]()
    gate.record_failure(AWAY)

    async def handle(number: int) -> None:
        await gate.wait_until_closed()
        passed.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(3)]
    await becomes(lambda: len(passed) == 3)
    await asyncio.gather(*waiting)


async def test_it_knows_how_many_messages_it_holds() -> None:
    gate = ConsumerCircuit(cool_down_s=0.05)
    gate.record_failure(AWAY)
    waiting = [asyncio.create_task(gate.wait_until_closed()) for _ in range(3)]
    await becomes(lambda: gate.paused == 3)
    gate.record_success()
    await asyncio.gather(*waiting)

    assert gate.paused == 0
