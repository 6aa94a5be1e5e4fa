"""Campaign tokens: an exact number of bookings per window."""

import asyncio
import sys
import time
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.booking.booking_suite import BookingSuite, book

PROCESSES = 4
TASKS = 4
SECONDS = 4.0
MAX_TOKENS = 7
WINDOW_S = 1.0
BY_WINDOW = text("""
    SELECT floor(extract(epoch FROM created_at) / :window_s) AS number, count(*) AS made FROM booking
    GROUP BY 1 ORDER BY 1""")


async def _process(url: str, name: str) -> int:
    arguments = [url, name, str(TASKS), str(SECONDS), str(MAX_TOKENS), str(WINDOW_S)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.booking.campaign_process", *arguments, stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0
    return int(stdout)


@pytest.mark.real
async def test_four_processes_fill_each_window_exactly(booking_url: str, engine: AsyncEngine) -> None:
    made = await asyncio.gather(*(_process(booking_url, f"p{n}") for n in range(PROCESSES)))
    async with engine.connect() as connection:
        by_window = [row.made for row in await connection.execute(BY_WINDOW, {"window_s": WINDOW_S})]
        tokens_taken = (await connection.execute(text("SELECT sum(tokens_taken) FROM token_window"))).scalar_one()

    assert len(by_window) >= SECONDS - 1
    assert all(by_process > 0 for by_process in made), "every process got tokens"
    assert by_window[1:-1] == [MAX_TOKENS] * (len(by_window) - 2), "demand exceeds supply: full windows are exhausted"
    assert max(by_window) <= MAX_TOKENS
    assert sum(made) == sum(by_window) == tokens_taken


async def test_a_refused_request_gets_a_time_in_one_of_the_next_windows() -> None:
    suite = BookingSuite(campaign_tokens=2, campaign_window_s=60.0)
    suite.clock.now += timedelta(seconds=50)
    started = time.monotonic()
    responses = [await book(suite, key=f"k{n}") for n in range(6)]
    elapsed_s = time.monotonic() - started

    assert [r.status_code for r in responses] == [202, 202, 503, 503, 503, 503]
    assert {r.json()["code"] for r in responses[2:]} == {"campaign_window_full"}
    waits = [int(r.headers["retry-after"]) for r in responses[2:]]
    # Reservations are counted from their time, so a slow machine is told less for the later ones.
    expected = zip((10, 40, 70, 100), waits, strict=True)
    assert all(first - elapsed_s <= wait <= first + 2 for first, wait in expected), (waits, elapsed_s)
    assert len(suite.bookings) == 2

    suite.clock.now += timedelta(seconds=10)
    assert (await book(suite, key="k2")).status_code == 202


async def test_a_repeated_request_takes_no_second_token() -> None:
    suite = BookingSuite(campaign_tokens=2, campaign_window_s=60.0)
    again = [await book(suite) for _ in range(3)]
    other = await book(suite, key="k2")

    assert [r.status_code for r in (*again, other)] == [202] * 4
    assert len(suite.bookings) == 2
