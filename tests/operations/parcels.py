"""Parked messages as they come off the broker."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.messaging.unit_of_work import BeginUnitOfWork as BeginOf
from prebook.operations.dead_letters.record import record_of
from prebook.operations.sql import OperationsSql

Begin = BeginOf[OperationsSql]
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
QUEUE = "pricing.requests.quote_fare"


def headers(number: int = 1, **changes: str) -> dict[str, str]:
    said = {
        "ce-id": f"b{number}.quote_fare",
        "ce-type": "prebook.quote_fare.v1",
        "ce-subject": f"b{number}",
        "ce-time": (NOW - timedelta(minutes=5) + timedelta(seconds=number)).isoformat(),
        "prebook-flow": "quote_fare",
        "prebook-kind": "request",
        "prebook-attempt": "5",
        "prebook-expires-at": NOW.isoformat(),
        "traceparent": f"00-{number:032x}-{1:016x}-01",
        "prebook-x-cause": "attempts_exhausted",
        "prebook-x-error": f"ProgrammingError: no table for 'b{number}'",
        "prebook-x-exchange": "prebook.requests",
        "prebook-x-routing-key": "quote_fare",
    }
    return {**said, **{name.replace("_", "-"): value for name, value in changes.items()}}


def parcel(number: int = 1, *, body: bytes = b"{}", queue: str = QUEUE, **changes: str) -> DeadLetter:
    return DeadLetter(queue, headers(number, **changes), body, parked_at=NOW)


async def taken_in(begin: Begin, *parcels: DeadLetter, now: datetime = NOW) -> list[int]:
    """Their ids, in the order given."""
    async with begin() as work:
        for one in parcels:
            await work.add_dead_letter(record_of(one, now))
    async with begin() as work:
        return [await _id(work, one) for one in parcels]


async def _id(work: OperationsSql, one: DeadLetter) -> int:
    from sqlalchemy import text

    found: Any = await work._fetch_scalar(
        text("SELECT id FROM dead_letter WHERE fingerprint = :fingerprint"), fingerprint=record_of(one, NOW).fingerprint
    )
    return int(found)
