"""What booking's store promises, asked of the one in memory and of the one on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.handlers import UnknownBooking, handle_driver_reply, handle_fare_reply, handle_notification_reply
from prebook.booking.store import BookingWork, DuplicateKey, IdempotencyRecord, StoredResponse
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, RiderNotified
from prebook.contracts.ride import BookingState
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.rides import BOOKING, MATCHED, NOW, PLAN, QUOTED

Store = BeginUnitOfWork[BookingWork]
FIRST = StoredResponse(booking_id="bk_1", status=202, body=b'{"id":"bk_1"}')


def claim(booking: Booking, response: StoredResponse | None = None) -> IdempotencyRecord:
    return IdempotencyRecord(
        key=booking.key, booking_id=booking.id, fingerprint=b"\x00\xff", created_at=NOW, response=response
    )


async def opened(begin: Store, booking: Booking = BOOKING, response: StoredResponse | None = None) -> bool:
    try:
        async with begin() as work:
            await work.create(booking, claim(booking, response))
    except DuplicateKey:
        return False
    return True


def about(key: str = "") -> HandlerContext:
    return HandlerContext(
        conversation_id="bk_1", message_id="m", plan=PLAN, now=NOW + timedelta(seconds=3), request_key=key
    )


async def test_a_booking_comes_back_as_it_went_in(begin: Store) -> None:
    confirmed = process.apply_driver_reply(process.apply_fare_reply(BOOKING, QUOTED, NOW).booking, MATCHED, NOW).booking
    told = process.apply_notification_reply(confirmed, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW).booking
    assert await opened(begin)
    for stage in (BOOKING, confirmed, told, process.cancel(told, NOW).booking):
        async with begin() as work:
            await work.save(stage)
        async with begin() as work:
            held = await work.lock("bk_1")
            assert held is not None
            assert await work.find("bk_1") == held.booking == stage


async def test_a_key_is_taken_once(begin: Store) -> None:
    assert await opened(begin)
    assert not await opened(begin, replace(BOOKING, id="bk_2"))

    async with begin() as work:
        assert await work.find("bk_2") is None
        assert await work.find_idempotency_record("k1") == claim(BOOKING)
        assert await work.find_idempotency_record("k2") is None


async def test_the_first_response_stays(begin: Store) -> None:
    await opened(begin)
    for response in (FIRST, replace(FIRST, status=201, body=b"{}")):
        async with begin() as work:
            assert await work.store_response("k1", response) == FIRST

    async with begin() as work:
        assert await work.find_idempotency_record("k1") == claim(BOOKING, FIRST)


async def test_a_response_known_at_once_is_stored_at_once(begin: Store) -> None:
    await opened(begin, BOOKING, FIRST)

    async with begin() as work:
        assert await work.find_idempotency_record("k1") == claim(BOOKING, FIRST)


async def test_the_ledger_goes_by_the_bytes_of_the_keys(begin: Store) -> None:
    for key in ("b", "a-2", "a_1", "a-10", "A-1", "a-", "a%"):
        await opened(begin, replace(BOOKING, id=f"bk_{key}", key=key))

    async with begin() as work:
        assert [b.key for b in await work.read_ledger("", "", 9)] == ["A-1", "a%", "a-", "a-10", "a-2", "a_1", "b"]
        assert [b.key for b in await work.read_ledger("a-", "", 9)] == ["a-", "a-10", "a-2"]
        assert [b.key for b in await work.read_ledger("a-", "a-", 1)] == ["a-10"]
        assert [b.key for b in await work.read_ledger("a%", "", 9)] == ["a%"]
        assert [b.key for b in await work.read_ledger("", "b", 9)] == []


async def test_answers_move_the_stored_booking(begin: Store) -> None:
    await opened(begin)
    outcomes: list[HandlerResult] = []
    async with begin() as work:
        outcomes.append(await handle_fare_reply(about(), QUOTED, work))
    async with begin() as work:
        outcomes.append(await handle_driver_reply(about(), MATCHED, work))
    async with begin() as work:
        outcomes.append(await handle_notification_reply(about("confirmed"), Unavailable(reason="deadline"), work))
    async with begin() as work:
        outcomes.append(
            await handle_notification_reply(about("confirmed.2"), RiderNotified(notice=Notice.CONFIRMED), work)
        )
        booking = await work.find("bk_1")

    assert [[ask.flow for ask in o.requests] for o in outcomes] == [
        ["find_driver"],
        ["notify_rider"],
        ["notify_rider"],
        [],
    ]
    assert [len(o.events) for o in outcomes] == [0, 1, 0, 0]
    assert booking
    assert (booking.state, booking.notified_at) == (BookingState.CONFIRMED, NOW + timedelta(seconds=3))


async def test_a_late_answer_changes_nothing(begin: Store) -> None:
    await opened(begin)
    ended = process.cancel(BOOKING, NOW).booking
    async with begin() as work:
        await work.save(ended)
    async with begin() as work:
        assert (
            await handle_fare_reply(about(), QUOTED, work)
            == await handle_driver_reply(about(), MATCHED, work)
            == HandlerResult()
        )
        assert await work.find("bk_1") == ended


async def test_an_answer_to_no_booking_is_parked_not_repeated(begin: Store) -> None:
    with pytest.raises(UnknownBooking) as raised:
        async with begin() as work:
            await handle_fare_reply(about(), QUOTED, work)

    assert raised.value.cause == "unknown_booking"
