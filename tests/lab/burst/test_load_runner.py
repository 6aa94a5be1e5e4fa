"""A burst's parts that look at a suite: when all is at rest, who came back, what a rung says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from prebook.flows import SERVICES
from prebook.lab.burst.backlog import STATEMENT
from prebook.lab.burst.capacity import count_answered
from prebook.lab.burst.load_runner import is_quiet, wait_until_at_rest
from prebook.lab.burst.monitor import SuiteMonitor
from prebook.lab.burst.run import is_accepted_on_first_retry, ride_record
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import ClockOrigin, open_session
from prebook.lab.load.samples import RefusalSample
from tests.lab.burst.bursts import second
from tests.lab.ledger.accounts_builder import START, answered, at, refused

REFUSAL = RefusalSample(status=503, at_s=0.5, retry_after_s=2.0, reason="overloaded")


@pytest.fixture
async def watch() -> AsyncIterator[SuiteMonitor]:
    async with open_session() as session:
        yield SuiteMonitor(fault_access.read_fault_access(session, {}), "", ClockOrigin(0.0, START))


async def test_all_is_at_rest_when_two_looks_in_a_row_found_nothing(watch: SuiteMonitor) -> None:
    async def looking() -> None:
        for waiting in (40, 0, 40, 0, 0):
            await asyncio.sleep(0.02)
            watch.snapshots.append(second(0.0, waiting=waiting))

    (took_s, at_rest), _ = await asyncio.gather(wait_until_at_rest(watch, 20.0), looking())

    assert at_rest
    assert took_s < 20.0
    assert len(watch.snapshots) == 5


async def test_what_cannot_be_seen_is_not_known_to_rest(watch: SuiteMonitor) -> None:
    assert is_quiet(0, 0, 0)
    assert not is_quiet(0, None, 0)
    took_s, at_rest = await wait_until_at_rest(watch, 0.1)
    assert took_s >= 0.1
    assert not at_rest


async def test_a_watch_that_sees_nothing_says_so_and_ends(watch: SuiteMonitor) -> None:
    watch.stopped.set()
    await watch.run()
    assert watch.snapshots == []

    watch.stopped.clear()
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(20):
        while not watch.snapshots:
            await asyncio.sleep(0.01)
        watch.stopped.set()
        await running
    first = watch.snapshots[0]
    assert (first.outbox_rows, first.queued, first.oldest_age_s, first.memory_mb) == (None, None, None, {})


@pytest.mark.parametrize(
    ("refusals", "was_refused", "accepted", "expected"),
    [
        (0, False, True, None),
        (1, True, False, None),
        (1, False, True, True),
        (2, False, True, False),
        (2, True, False, False),
    ],
)
def test_who_came_back_and_got_in_at_once(
    refusals: int, *, was_refused: bool, accepted: bool, expected: bool | None
) -> None:
    assert is_accepted_on_first_retry([REFUSAL] * refusals, refused=was_refused, accepted=accepted) is expected


def test_a_ride_is_told_in_seconds_from_the_first() -> None:
    origin = ClockOrigin(0.0, at(10.0))
    one = ride_record(answered(0, 12.0, 13.5), origin)
    gone = ride_record(refused(1, 14.0), origin)

    assert (one.offered_s, one.accepted_s, one.settled_s, one.outcome) == (2.0, 2.0, 3.5, "confirmed")
    assert (gone.offered_s, gone.accepted_s, gone.settled_s, gone.outcome) == (4.0, None, None, "refused")


def test_a_rung_counts_what_was_answered_while_it_was_steady() -> None:
    accounts = [answered(n, float(n), n + 0.5) for n in range(8)]

    assert count_answered(accounts, START, 2.0, 6.0) == 4


def test_every_service_is_looked_at_twice() -> None:
    assert all(STATEMENT.count(f"{service}.outbox") == 2 for service in SERVICES)
    assert all(STATEMENT.count(f"{service}.pending_reply") == 3 for service in SERVICES)
