"""Sides of a burst, made by hand."""

from collections.abc import Container, Mapping

import msgspec

from prebook.lab.burst.model import BurstSide, LoadLevel, RideRecord, SuiteSnapshot
from prebook.lab.report.model import read_machine
from prebook.lab.suite_client.settings import StackInfo
from tests.lab.ledger.accounts_builder import START

LASTS_S = 20
SERVICES_MB = dict.fromkeys(("pricing", "matching", "notification", "fleets", "operations"), 20.0)
MEMORY_MB = {"broker": 120.0, "database": 200.0, "booking": 80.0, **SERVICES_MB}


def second(
    at_s: float, *, oldest_s: float = 2.0, waiting: int = 40, unseen: Container[str] = (), **memory_mb: float
) -> SuiteSnapshot:
    """``unseen``: processes whose memory was not looked at; ``memory_mb``: of those that have not what is usual."""
    used = {**MEMORY_MB, **memory_mb}
    return SuiteSnapshot(
        at_s=at_s,
        outbox_rows=waiting // 2,
        outbox_oldest_s=oldest_s / 2,
        pending_requests=waiting,
        pending_oldest_s=oldest_s,
        queued=waiting // 4,
        longest_queue="pricing.requests.quote_fare" if waiting else "",
        memory_mb={name: megabytes for name, megabytes in used.items() if name not in unseen},
        pressure={"quote_fare_by_request_reply": waiting / 50},
        unsent=0,
    )


def ride(at_s: float, *, took_s: float = 1.0, fate: str = "confirmed", label: str = "one_way") -> RideRecord:
    return RideRecord(label=label, offered_s=at_s, outcome=fate, accepted_s=at_s, settled_s=at_s + took_s)


def refused(at_s: float, *, explicit: bool = True, came_in: bool | None = None) -> RideRecord:
    return RideRecord(
        label="sync_api",
        offered_s=at_s,
        outcome="refused",
        refused_s=(at_s,),
        retries=0,
        all_with_retry_after=explicit,
        accepted_on_first_retry=came_in,
    )


def held(**changes: object) -> BurstSide:
    """Back pressure on: ten rides a second, of which nine and a half come to something, all in time."""
    rides = [ride(n / 10, label=("one_way", "sync_api")[n % 2]) for n in range(190)]
    side = BurstSide(
        back_pressure="on",
        seed=7,
        capacity_per_s=10.0,
        levels=(LoadLevel(offered_per_s=12.0, settled_per_s=10.0, duration_s=8.0),),
        factor=5.0,
        duration_s=float(LASTS_S),
        started_at=START,
        stack=StackInfo("stand-in", "none", "none"),
        machine=read_machine(),
        lag_p99_ms=3.0,
        lag_max_ms=9.0,
        snapshots=tuple(second(float(n)) for n in range(LASTS_S + 5)),
        rides=(*rides, *(refused(n / 10) for n in range(200))),
        refusals={"503 overloaded: held": 200},
        lost=0,
        duplicated=0,
        in_flight=0,
        settle_s=2.0,
    )
    return msgspec.structs.replace(side, **changes)


def flooded() -> BurstSide:
    """The same with back pressure off: everything is taken in, and waits."""
    rides = tuple(ride(n / 50, took_s=n / 25, label=("one_way", "sync_api")[n % 2]) for n in range(1000))
    seconds = tuple(second(float(n), oldest_s=0.9 * n, waiting=40 * n) for n in range(LASTS_S + 1))
    return held(back_pressure="off", rides=rides, refusals={}, snapshots=seconds)


def beside(side: BurstSide, memory_mb: Mapping[str, float]) -> BurstSide:
    """With so much memory in other processes as well, or instead."""
    seconds = (msgspec.structs.replace(each, memory_mb={**each.memory_mb, **memory_mb}) for each in side.snapshots)
    return msgspec.structs.replace(side, snapshots=tuple(seconds))
