"""Refusals under load over HTTP: what a rider is told, and that nothing is left behind."""

from prebook.booking.store import LoadSignals
from prebook.contracts.plan import Coupling
from tests.booking.rides import Suite, book, inline, queued

FULL = LoadSignals(pending_requests={("quote_fare", Coupling.REQUEST_REPLY): 500})


def full(**settings: object) -> Suite:
    suite = Suite(queued(), **settings)
    suite.shedder.update(FULL)
    return suite


async def test_an_overload_is_refused_with_a_time_and_leaves_no_row() -> None:
    suite = full()
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert "quote_fare_by_request_reply" in response.json()["detail"]
    assert int(response.headers["retry-after"]) >= 1
    assert (suite.bookings, suite.database.tables.outbox) == ({}, {})


async def test_what_was_accepted_before_is_answered_again_in_an_overload() -> None:
    suite = Suite(queued())
    first = await book(suite)
    suite.shedder.update(FULL)
    again, other = await book(suite), await book(suite, key="k2")

    assert (again.status_code, again.content) == (202, first.content)
    assert other.status_code == 503


async def test_back_pressure_can_be_switched_off() -> None:
    assert (await book(full(back_pressure="off"))).status_code == 202


async def test_a_rider_has_a_quota_of_his_own() -> None:
    suite = Suite(queued(), rider_rate_per_s=0.1, rider_burst=2)
    responses = [await book(suite, key=f"k{n}") for n in range(4)]
    other = await book(suite, key="k9", rider_id="sam")

    assert [r.status_code for r in responses] == [202, 202, 429, 429]
    assert responses[2].json()["code"] == "rate_limit_exceeded"
    assert int(responses[2].headers["retry-after"]) == 10
    assert other.status_code == 202


async def test_a_rider_who_is_held_is_counted_until_the_answer() -> None:
    suite = Suite(inline(), max_waiting_riders=1)

    assert [(await book(suite, key=f"k{n}")).status_code for n in range(3)] == [201, 201, 201]
