"""HTTP responses under load: refusals with Retry-After that store nothing."""

from typing import Any

from prebook.booking.store import LoadSignals
from prebook.contracts.plan import Coupling
from tests.booking.booking_suite import SETTINGS, BookingSuite, book

FULL = LoadSignals(pending_requests={("quote_fare", Coupling.REQUEST_REPLY): SETTINGS.max_pending_requests})


async def make_overloaded_suite(**settings: Any) -> BookingSuite:
    suite = BookingSuite(**settings)
    await suite.sample_load(FULL)
    return suite


async def test_a_refusal_under_load_has_retry_after_and_stores_nothing() -> None:
    suite = await make_overloaded_suite()
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert "quote_fare_by_request_reply" in response.json()["detail"]
    assert int(response.headers["retry-after"]) >= 1
    assert (suite.bookings, suite.database.tables.outbox) == ({}, {})


async def test_a_stored_response_is_repeated_under_load() -> None:
    suite = BookingSuite()
    first = await book(suite)
    await suite.sample_load(FULL)
    again = await book(suite)
    other = await book(suite, key="k2")

    assert (again.status_code, again.content) == (202, first.content)
    assert other.status_code == 503


async def test_a_sample_counts_more_rows_than_the_largest_limit() -> None:
    """Otherwise no load could reach the limit."""
    suite = BookingSuite(max_pending_requests=30, max_outbox_rows=50_000)
    await suite.sample_load(LoadSignals())
    assert suite.database.tables.state.sampled_rows > 50_000


async def test_back_pressure_can_be_switched_off() -> None:
    assert (await book(await make_overloaded_suite(back_pressure="off"))).status_code == 202


async def test_each_rider_has_a_rate_limit() -> None:
    suite = BookingSuite(rider_rate_per_s=0.1, rider_burst=2)
    responses = [await book(suite, key=f"k{n}") for n in range(4)]
    other = await book(suite, key="k9", rider_id="sam")

    assert [r.status_code for r in responses] == [202, 202, 429, 429]
    assert responses[2].json()["code"] == "rate_limit_exceeded"
    assert int(responses[2].headers["retry-after"]) == 10
    assert other.status_code == 202


async def test_a_waiting_rider_is_counted_until_the_response() -> None:
    suite = BookingSuite(Coupling.SYNC_API, max_waiting_riders=1)

    assert [(await book(suite, key=f"k{n}")).status_code for n in range(3)] == [201, 201, 201]
