"""Consumer circuit: when it opens, how it probes, when it closes."""

import asyncio

from prebook.messaging.errors import PermanentFailure, ReceiverUnavailable, Unreachable
from prebook.messaging.recoverability.consumer_circuit import MAX_LONE_OUTAGES, ConsumerCircuit, LoneOutages
from tests.conditions import wait_until

DATABASE_DOWN = Unreachable("the database is down")


async def test_isolated_failures_do_not_open_the_circuit() -> None:
    circuit = ConsumerCircuit(threshold=3)
    for _ in range(10):
        await circuit.wait_until_closed()
        assert circuit.record_failure(ValueError("an error of this message alone")) is False
        circuit.record_success()

    assert not circuit.is_open


async def test_external_systems_that_take_nothing_do_not_open_the_circuit() -> None:
    circuit = ConsumerCircuit(threshold=3)
    for _ in range(10):
        assert circuit.record_failure(ReceiverUnavailable("a rider's system is down")) is False
    assert not circuit.is_open


async def test_messages_that_can_never_be_handled_do_not_open_the_circuit() -> None:
    circuit = ConsumerCircuit(threshold=3)
    for _ in range(10):
        assert circuit.record_failure(PermanentFailure("no such booking")) is False
    assert not circuit.is_open


async def test_consecutive_failures_open_the_circuit_and_one_probe_runs_at_a_time() -> None:
    circuit = ConsumerCircuit(threshold=3, cool_down_s=0.05)
    probes = list[int]()
    for _ in range(3):
        circuit.record_failure(ValueError("the same for every message"))
    assert circuit.is_open

    async def handle(number: int) -> None:
        await circuit.wait_until_closed()
        probes.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(5)]
    await wait_until(lambda: len(probes) == 1)
    circuit.record_failure(ValueError("again"))
    assert len(probes) == 1
    await wait_until(lambda: len(probes) == 2)
    circuit.record_success()
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=1.0)

    assert sorted(probes) == [0, 1, 2, 3, 4]
    assert not circuit.is_open


async def test_an_unreachable_dependency_opens_the_circuit_at_once_and_costs_no_message() -> None:
    circuit = ConsumerCircuit(threshold=50, cool_down_s=0.02)
    handled = 0
    tries = 0

    async def handle() -> None:
        nonlocal handled, tries
        while True:
            await circuit.wait_until_closed()
            tries += 1
            if tries <= 4 and circuit.record_failure(DATABASE_DOWN):
                continue
            circuit.record_success()
            handled += 1
            return

    await asyncio.wait_for(asyncio.gather(*(handle() for _ in range(30))), timeout=2.0)

    assert (handled, tries) == (30, 34)


async def test_a_probe_that_never_ends_does_not_block_the_next_probe() -> None:
    circuit = ConsumerCircuit(cool_down_s=0.03)
    passed = list[int]()
    circuit.record_failure(DATABASE_DOWN)

    async def handle(number: int) -> None:
        await circuit.wait_until_closed()
        passed.append(number)

    waiting = [asyncio.create_task(handle(number)) for number in range(3)]
    await wait_until(lambda: len(passed) == 3)
    await asyncio.gather(*waiting)


async def test_paused_counts_the_waiting_messages() -> None:
    circuit = ConsumerCircuit(cool_down_s=0.05)
    circuit.record_failure(DATABASE_DOWN)
    waiting = [asyncio.create_task(circuit.wait_until_closed()) for _ in range(3)]
    await wait_until(lambda: circuit.paused == 3)
    circuit.record_success()
    await asyncio.gather(*waiting)

    assert circuit.paused == 0


def test_an_outage_of_all_messages_is_the_fault_of_none() -> None:
    circuit = ConsumerCircuit()
    circuit.record_success()
    of_each = [LoneOutages(lambda: circuit.successes) for _ in range(3)]
    for _ in range(10 * MAX_LONE_OUTAGES):
        assert not any(outages.record() for outages in of_each)


def test_an_outage_that_others_do_not_meet_is_the_fault_of_the_message() -> None:
    circuit = ConsumerCircuit()
    outages = LoneOutages(lambda: circuit.successes)
    recorded = []
    for _ in range(2 * MAX_LONE_OUTAGES + 1):
        recorded.append(outages.record())
        circuit.record_success()
    assert [index for index, charged in enumerate(recorded) if charged] == [MAX_LONE_OUTAGES, 2 * MAX_LONE_OUTAGES]


def test_an_outage_of_all_in_between_starts_the_count_again() -> None:
    circuit = ConsumerCircuit()
    outages = LoneOutages(lambda: circuit.successes)
    for _ in range(MAX_LONE_OUTAGES):
        assert not outages.record()
        circuit.record_success()
    assert outages.record() is True
    for _ in range(MAX_LONE_OUTAGES - 1):
        circuit.record_success()
        assert not outages.record()
    assert not outages.record(), "nothing else was handled meanwhile"
    circuit.record_success()
    assert not outages.record()
