"""Dead letters as the broker delivers them, and their recording in a database."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.messaging.unit_of_work import BeginUnitOfWork as BeginOf
from prebook.operations.dead_letters.record import record_of
from prebook.operations.sql import OperationsSql

Begin = BeginOf[OperationsSql]
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
QUEUE = "pricing.requests.quote_fare"
ID_OF = text("SELECT id FROM dead_letter WHERE fingerprint = :fingerprint")


def headers(number: int = 1, **changes: str) -> dict[str, str]:
    """Return the headers of a parked request; ``changes``, written with _ for -, are added or replace them."""
    original = {
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
    return {**original, **{name.replace("_", "-"): value for name, value in changes.items()}}


def dead_letter(number: int = 1, *, body: bytes = b"{}", queue: str = QUEUE, **changes: str) -> DeadLetter:
    """Return a dead letter whose headers are those of ``headers(number, **changes)``."""
    return DeadLetter(queue, headers(number, **changes), body, parked_at=NOW)


async def record_dead_letters(begin: Begin, *dead_letters: DeadLetter, now: datetime = NOW) -> list[int]:
    """Record the dead letters and return their ids, in the order given."""
    async with begin() as work:
        for each in dead_letters:
            await work.add_dead_letter(record_of(each, now))
    async with begin() as work:
        return [await _find_id(work, each) for each in dead_letters]


async def _find_id(work: OperationsSql, letter: DeadLetter) -> int:
    return int(await work._fetch_scalar(ID_OF, fingerprint=record_of(letter, NOW).fingerprint))
