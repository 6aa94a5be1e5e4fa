"""Process that books as fast as it can.

Usage: ``python -m tests.booking.campaign_process URL NAME TASKS SECONDS MAX_TOKENS WINDOW_S``.

Prints the number of bookings that got a token.
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
from tests.booking.booking_suite import BOOKING, NOW


@dataclass(frozen=True)
class Campaign:
    max_tokens: int
    window_s: float


class NoTokenLeft(Exception):
    """The window is full; the transaction of the booking rolls back."""


async def _book(begin: BeginUnitOfWork[BookingSql], key: str, campaign: Campaign) -> None:
    async with begin() as work:
        record = IdempotencyRecord(
            key=replace(BOOKING, key=key).rider_key, booking_id=key, fingerprint=b"", created_at=NOW
        )
        await work.create(replace(BOOKING, id=key, key=key), record)
        if (await work.take_token("launch", campaign.max_tokens, campaign.window_s)) is not None:
            raise NoTokenLeft


async def _book_until(begin: BeginUnitOfWork[BookingSql], name: str, until: float, campaign: Campaign) -> int:
    """Book one after the other until the monotonic time ``until``; returns the number of bookings."""
    booked = 0
    for number in count():
        if time.monotonic() >= until:
            break
        with contextlib.suppress(NoTokenLeft):
            await _book(begin, f"{name}-{number}", campaign)
            booked += 1
    return booked


async def main(arguments: Sequence[str]) -> None:
    url, name, tasks, seconds, max_tokens, window_s = arguments
    engine = create_engine("booking", url)
    begin = unit_of_work_factory(engine, BookingSql)
    campaign = Campaign(int(max_tokens), float(window_s))
    until = time.monotonic() + float(seconds)
    booked = await asyncio.gather(
        *(_book_until(begin, f"{name}-{task}", until, campaign) for task in range(int(tasks)))
    )
    print(sum(booked))  # noqa: T201 - read by the test
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
