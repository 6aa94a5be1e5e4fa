"""Load runner of a burst: end of the load, ride records, settled rides of a level."""

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
from tests.lab.burst.bursts import snapshot
from tests.lab.ledger.accounts_builder import START, answered, at, refused

REFUSAL = RefusalSample(status=503, at_s=0.5, retry_after_s=2.0, reason="overloaded")


@pytest.fixture
async def monitor() -> AsyncIterator[SuiteMonitor]:
    async with open_session() as session:
        yield SuiteMonitor(fault_access.read_fault_access(session, {}), "", ClockOrigin(0.0, START))


async def test_the_suite_is_at_rest_after_two_consecutive_snapshots_without_backlog(monitor: SuiteMonitor) -> None:
    async def take_snapshots() -> None:
        for backlog in (40, 0, 40, 0, 0):
            await asyncio.sleep(0.02)
            monitor.snapshots.append(snapshot(0.0, backlog=backlog))

    (took_s, at_rest), _ = await asyncio.gather(wait_until_at_rest(monitor, 20.0), take_snapshots())

    assert at_rest
    assert took_s < 20.0
    assert len(monitor.snapshots) == 5


async def test_an_unknown_backlog_is_not_at_rest(monitor: SuiteMonitor) -> None:
    assert is_quiet(0, 0, 0)
    assert not is_quiet(0, None, 0)
    took_s, at_rest = await wait_until_at_rest(monitor, 0.1)
    assert took_s >= 0.1
    assert not at_rest


async def test_a_monitor_without_access_records_nulls_and_stops(monitor: SuiteMonitor) -> None:
    monitor.stopped.set()
    await monitor.run()
    assert monitor.snapshots == []

    monitor.stopped.clear()
    running = asyncio.create_task(monitor.run())
    async with asyncio.timeout(20):
        while not monitor.snapshots:
            await asyncio.sleep(0.01)
        monitor.stopped.set()
        await running
    first = monitor.snapshots[0]
    assert (first.outbox_rows, first.queued, first.oldest_age_s, first.memory_mb) == (None, None, None, {})


@pytest.mark.parametrize(
    ("refusals", "refused_last", "accepted", "expected"),
    [
        (0, False, True, None),
        (1, True, False, None),
        (1, False, True, True),
        (2, False, True, False),
        (2, True, False, False),
    ],
)
def test_acceptance_on_the_first_retry(
    refusals: int, *, refused_last: bool, accepted: bool, expected: bool | None
) -> None:
    assert is_accepted_on_first_retry([REFUSAL] * refusals, refused=refused_last, accepted=accepted) is expected


def test_a_ride_record_has_seconds_from_the_origin() -> None:
    origin = ClockOrigin(0.0, at(10.0))
    settled = ride_record(answered(0, 12.0, 13.5), origin)
    rejected = ride_record(refused(1, 14.0), origin)

    assert (settled.offered_s, settled.accepted_s, settled.settled_s, settled.outcome) == (2.0, 2.0, 3.5, "confirmed")
    assert (rejected.offered_s, rejected.accepted_s, rejected.settled_s, rejected.outcome) == (
        4.0,
        None,
        None,
        "refused",
    )


def test_a_level_counts_the_rides_settled_in_its_window() -> None:
    accounts = [answered(n, float(n), n + 0.5) for n in range(8)]

    assert count_answered(accounts, START, 2.0, 6.0) == 4


def test_the_backlog_query_reads_outbox_and_pending_replies_of_every_service() -> None:
    assert all(STATEMENT.count(f"{service}.outbox") == 2 for service in SERVICES)
    assert all(STATEMENT.count(f"{service}.pending_reply") == 3 for service in SERVICES)
