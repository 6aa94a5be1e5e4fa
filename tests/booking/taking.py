"""A process that books as fast as it can: ``python -m tests.booking.taking URL NAME TASKS SECONDS MOST WINDOW_S``.

Prints how many it was let make.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from prebook.booking.sql.work import BookingSql
from prebook.booking.store import IdempotencyRecord
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.booking.rides import BOOKING, NOW


@dataclass(frozen=True)
class Campaign:
    most: int
    window_s: float


class NoneLeft(Exception):
    """Undoes the booking that was made on the way."""


async def _take(begin: BeginUnitOfWork[BookingSql], key: str, campaign: Campaign) -> None:
    async with begin() as work:
        claim = IdempotencyRecord(key=key, booking_id=key, fingerprint=b"", created_at=NOW)
        await work.create(replace(BOOKING, id=key, key=key), claim)
        if (await work.take_token("launch", campaign.most, campaign.window_s)) is not None:
            raise NoneLeft


async def _taking(begin: BeginUnitOfWork[BookingSql], name: str, until: float, campaign: Campaign) -> int:
    """One after the other, until the time is up; how many were made."""
    made = 0
    for number in count():
        if time.monotonic() >= until:
            break
        with contextlib.suppress(NoneLeft):
            await _take(begin, f"{name}-{number}", campaign)
            made += 1
    return made


async def main(arguments: Sequence[str]) -> None:
    url, name, tasks, seconds, most, window_s = arguments
    engine, until = create_engine("booking", url), time.monotonic() + float(seconds)
    begin, campaign = unit_of_work_factory(engine, BookingSql), Campaign(int(most), float(window_s))
    made = await asyncio.gather(*(_taking(begin, f"{name}-{task}", until, campaign) for task in range(int(tasks))))
    print(sum(made))  # noqa: T201 - its answer
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
