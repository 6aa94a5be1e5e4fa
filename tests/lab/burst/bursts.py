"""Builders of burst measurements for tests that need no suite."""

from collections.abc import Container, Mapping

import msgspec

from prebook.lab.burst.model import BurstSide, RideRecord, SuiteSnapshot
from prebook.lab.report.model import LoadLevel, read_machine
from prebook.lab.suite_client.settings import StackInfo
from tests.lab.ledger.accounts_builder import START

DURATION_S = 20
SERVICES_MB = dict.fromkeys(("pricing", "matching", "notification", "fleets", "operations"), 20.0)
MEMORY_MB = {"broker": 120.0, "database": 200.0, "booking": 80.0, **SERVICES_MB}


def snapshot(
    at_s: float, *, oldest_s: float = 2.0, backlog: int = 40, unread: Container[str] = (), **memory_mb: float
) -> SuiteSnapshot:
    """Return a snapshot. ``unread``: processes without a memory reading; ``memory_mb``: deviations from MEMORY_MB."""
    readings = {**MEMORY_MB, **memory_mb}
    return SuiteSnapshot(
        at_s=at_s,
        outbox_rows=backlog // 2,
        outbox_oldest_s=oldest_s / 2,
        pending_requests=backlog,
        pending_oldest_s=oldest_s,
        queued=backlog // 4,
        longest_queue="pricing.requests.quote_fare" if backlog else "",
        memory_mb={name: megabytes for name, megabytes in readings.items() if name not in unread},
        utilization={"quote_fare_by_request_reply": backlog / 50},
        refused_publishes=0,
    )


def ride(at_s: float, *, took_s: float = 1.0, outcome: str = "confirmed", label: str = "one_way") -> RideRecord:
    return RideRecord(label=label, offered_s=at_s, outcome=outcome, accepted_s=at_s, settled_s=at_s + took_s)


def refused_ride(
    at_s: float, *, with_retry_after: bool = True, accepted_on_first_retry: bool | None = None
) -> RideRecord:
    return RideRecord(
        label="sync_api",
        offered_s=at_s,
        outcome="refused",
        refused_s=(at_s,),
        retries=0,
        all_with_retry_after=with_retry_after,
        accepted_on_first_retry=accepted_on_first_retry,
    )


def bounded_side(**changes: object) -> BurstSide:
    """Return a side with back pressure on that passes: 9.5 rides per second settle in time, the others are refused."""
    rides = [ride(n / 10, label=("one_way", "sync_api")[n % 2]) for n in range(190)]
    side = BurstSide(
        back_pressure="on",
        seed=7,
        capacity_per_s=10.0,
        levels=(LoadLevel(offered_per_s=12.0, settled_per_s=10.0, duration_s=8.0),),
        factor=5.0,
        duration_s=float(DURATION_S),
        started_at=START,
        stack=StackInfo("stub", "none", "none"),
        machine=read_machine(),
        lag_p99_ms=3.0,
        lag_max_ms=9.0,
        snapshots=tuple(snapshot(float(n)) for n in range(DURATION_S + 5)),
        rides=(*rides, *(refused_ride(n / 10) for n in range(200))),
        refusals={"503 overloaded: held": 200},
        lost=0,
        duplicated=0,
        in_flight=0,
        settle_s=2.0,
    )
    return msgspec.structs.replace(side, **changes)


def overloaded_side() -> BurstSide:
    """Return a side with back pressure off whose backlog grows: every ride is accepted."""
    rides = tuple(ride(n / 50, took_s=n / 25, label=("one_way", "sync_api")[n % 2]) for n in range(1000))
    snapshots = tuple(snapshot(float(n), oldest_s=0.9 * n, backlog=40 * n) for n in range(DURATION_S + 1))
    return bounded_side(back_pressure="off", rides=rides, refusals={}, snapshots=snapshots)


def with_memory(side: BurstSide, memory_mb: Mapping[str, float]) -> BurstSide:
    """Add or replace memory readings in every snapshot of ``side``."""
    snapshots = (msgspec.structs.replace(taken, memory_mb={**taken.memory_mb, **memory_mb}) for taken in side.snapshots)
    return msgspec.structs.replace(side, snapshots=tuple(snapshots))
