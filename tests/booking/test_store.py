"""What booking's store promises, asked of the one in memory and of the one on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.handlers import UnknownBooking, driver_known, fare_known, rider_told
from prebook.booking.store import BookingWork, Claim, KeyTaken, StoredResponse
from prebook.contracts.booking import State
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, RiderNotified
from prebook.messaging.handlers import Context, Outcome
from prebook.messaging.unit_of_work import Begin
from tests.booking.rides import BOOKING, MATCHED, NOW, PLAN, QUOTED

Store = Begin[BookingWork]
FIRST = StoredResponse(booking_id="bk_1", status=202, body=b'{"id":"bk_1"}')


def claim(booking: Booking, response: StoredResponse | None = None) -> Claim:
    return Claim(key=booking.key, booking_id=booking.id, fingerprint=b"\x00\xff", claimed_at=NOW, response=response)


async def opened(begin: Store, booking: Booking = BOOKING, response: StoredResponse | None = None) -> bool:
    try:
        async with begin() as work:
            await work.open(booking, claim(booking, response))
    except KeyTaken:
        return False
    return True


def about(key: str = "") -> Context:
    return Context(conversation="bk_1", message_id="m", plan=PLAN, now=NOW + timedelta(seconds=3), key=key)


async def test_a_booking_comes_back_as_it_went_in(begin: Store) -> None:
    confirmed = process.driver_known(process.fare_known(BOOKING, QUOTED, NOW).booking, MATCHED, NOW).booking
    told = process.rider_told(confirmed, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW).booking
    assert await opened(begin)
    for stage in (BOOKING, confirmed, told, process.cancelled(told, NOW).booking):
        async with begin() as work:
            await work.save(stage)
        async with begin() as work:
            held = await work.hold("bk_1")
            assert held is not None
            assert await work.find("bk_1") == held.booking == stage


async def test_a_key_is_taken_once(begin: Store) -> None:
    assert await opened(begin)
    assert not await opened(begin, replace(BOOKING, id="bk_2"))

    async with begin() as work:
        assert await work.find("bk_2") is None
        assert await work.claim("k1") == claim(BOOKING)
        assert await work.claim("k2") is None


async def test_the_first_response_stays(begin: Store) -> None:
    await opened(begin)
    for response in (FIRST, replace(FIRST, status=201, body=b"{}")):
        async with begin() as work:
            assert await work.respond("k1", response) == FIRST

    async with begin() as work:
        assert await work.claim("k1") == claim(BOOKING, FIRST)


async def test_a_response_known_at_once_is_stored_at_once(begin: Store) -> None:
    await opened(begin, BOOKING, FIRST)

    async with begin() as work:
        assert await work.claim("k1") == claim(BOOKING, FIRST)


async def test_the_ledger_goes_by_the_bytes_of_the_keys(begin: Store) -> None:
    for key in ("b", "a-2", "a_1", "a-10", "A-1", "a-", "a%"):
        await opened(begin, replace(BOOKING, id=f"bk_{key}", key=key))

    async with begin() as work:
        assert [b.key for b in await work.ledger("", "", 9)] == ["A-1", "a%", "a-", "a-10", "a-2", "a_1", "b"]
        assert [b.key for b in await work.ledger("a-", "", 9)] == ["a-", "a-10", "a-2"]
        assert [b.key for b in await work.ledger("a-", "a-", 1)] == ["a-10"]
        assert [b.key for b in await work.ledger("a%", "", 9)] == ["a%"]
        assert [b.key for b in await work.ledger("", "b", 9)] == []


async def test_answers_move_the_stored_booking(begin: Store) -> None:
    await opened(begin)
    outcomes: list[Outcome] = []
    async with begin() as work:
        outcomes.append(await fare_known(about(), QUOTED, work))
    async with begin() as work:
        outcomes.append(await driver_known(about(), MATCHED, work))
    async with begin() as work:
        outcomes.append(await rider_told(about("confirmed"), Unavailable(reason="deadline"), work))
    async with begin() as work:
        outcomes.append(await rider_told(about("confirmed.2"), RiderNotified(notice=Notice.CONFIRMED), work))
        booking = await work.find("bk_1")

    assert [[ask.flow for ask in o.asks] for o in outcomes] == [["find_driver"], ["notify_rider"], ["notify_rider"], []]
    assert [len(o.facts) for o in outcomes] == [0, 1, 0, 0]
    assert booking
    assert (booking.state, booking.notified_at) == (State.CONFIRMED, NOW + timedelta(seconds=3))


async def test_a_late_answer_changes_nothing(begin: Store) -> None:
    await opened(begin)
    ended = process.cancelled(BOOKING, NOW).booking
    async with begin() as work:
        await work.save(ended)
    async with begin() as work:
        assert await fare_known(about(), QUOTED, work) == await driver_known(about(), MATCHED, work) == Outcome()
        assert await work.find("bk_1") == ended


async def test_an_answer_to_no_booking_is_parked_not_repeated(begin: Store) -> None:
    with pytest.raises(UnknownBooking) as raised:
        async with begin() as work:
            await fare_known(about(), QUOTED, work)

    assert raised.value.cause == "unknown_booking"
