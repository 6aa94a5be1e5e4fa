import asyncio

from prebook.messaging.channel import Unreachable
from prebook.messaging.recoverability.consumer_circuit import Gate
from tests.conditions import becomes

AWAY = Unreachable("the database is away")


async def test_single_failures_shut_nothing() -> None:
    gate = Gate(threshold=3)
    for _ in range(10):
        await gate.passed()
        assert gate.failed(ValueError("a bug that this message meets")) is False
        gate.succeeded()

    assert not gate.shut


async def test_when_everything_fails_it_shuts_and_one_probe_goes_at_a_time() -> None:
    gate, probes = Gate(threshold=3, cool_down_s=0.05), list[int]()
    for _ in range(3):
        gate.failed(ValueError("the same for everybody"))
    assert gate.shut

    async def handle(number: int) -> None:
        await gate.passed()
        probes.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(5)]
    await becomes(lambda: len(probes) == 1)
    gate.failed(ValueError("still"))
    assert len(probes) == 1
    await becomes(lambda: len(probes) == 2)
    gate.succeeded()
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=1.0)

    assert sorted(probes) == [0, 1, 2, 3, 4]
    assert not gate.shut


async def test_what_we_stand_on_being_away_shuts_it_at_once_and_is_not_the_messages_fault() -> None:
    gate = Gate(threshold=50, cool_down_s=0.02)
    handled, tries = 0, 0

    async def handle() -> None:
        nonlocal handled, tries
        while True:
            await gate.passed()
            tries += 1
            if tries <= 4 and gate.failed(AWAY):
                continue
            gate.succeeded()
            handled += 1
            return

    await asyncio.wait_for(asyncio.gather(*(handle() for _ in range(30))), timeout=2.0)

    assert (handled, tries) == (30, 34)


async def test_a_probe_that_never_ends_does_not_hold_the_others_for_ever() -> None:
    gate, passed = Gate(cool_down_s=0.03), list[int]()
    gate.failed(AWAY)

    async def handle(number: int) -> None:
        await gate.passed()
        passed.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(3)]
    await becomes(lambda: len(passed) == 3)
    await asyncio.gather(*waiting)


async def test_it_knows_how_many_messages_it_holds() -> None:
    gate = Gate(cool_down_s=0.05)
    gate.failed(AWAY)
    waiting = [asyncio.create_task(gate.passed()) for _ in range(3)]
    await becomes(lambda: gate.held == 3)
    gate.succeeded()
    await asyncio.gather(*waiting)

    assert gate.held == 0
