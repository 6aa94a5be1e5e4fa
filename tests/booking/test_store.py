"""Contract of booking's store, in memory and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from prebook.booking import process
from prebook.booking.domain.booking import Booking, RiderKey
from prebook.booking.handlers import UnknownBooking, handle_driver_reply, handle_fare_reply, handle_notification_reply
from prebook.booking.store import BookingWork, DuplicateKey, IdempotencyRecord, LedgerPosition, StoredResponse
from prebook.contracts.booking import LedgerTotal
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, RiderNotified
from prebook.contracts.plan import Coupling, plan_label
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.booking_suite import BOOKING, MATCHED, NOW, PLAN, QUOTED

Store = BeginUnitOfWork[BookingWork]
START = LedgerPosition("", "")
FIRST = StoredResponse(booking_id="bk_1", status=202, body=b'{"id":"bk_1"}')


def idempotency_record(booking: Booking, response: StoredResponse | None = None) -> IdempotencyRecord:
    return IdempotencyRecord(
        key=booking.rider_key, booking_id=booking.id, fingerprint=b"\x00\xff", created_at=NOW, response=response
    )


async def create(begin: Store, booking: Booking = BOOKING, response: StoredResponse | None = None) -> bool:
    try:
        async with begin() as work:
            await work.create(booking, idempotency_record(booking, response))
    except DuplicateKey:
        return False
    return True


def handler_context(key: str = "") -> HandlerContext:
    return HandlerContext(
        conversation_id="bk_1", message_id="m", plan=PLAN, now=NOW + timedelta(seconds=3), request_key=key
    )


async def test_a_saved_booking_is_read_unchanged(begin: Store) -> None:
    confirmed = process.apply_driver_reply(process.apply_fare_reply(BOOKING, QUOTED, NOW).booking, MATCHED, NOW).booking
    notified = process.apply_notification_reply(
        confirmed, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW
    ).booking
    assert await create(begin)
    for stage in (BOOKING, confirmed, notified, process.cancel(notified, NOW).booking):
        async with begin() as work:
            await work.save(stage)
        async with begin() as work:
            locked = await work.lock("bk_1")
            assert locked is not None
            assert await work.find("bk_1") == locked.booking == stage


async def test_a_key_is_used_once(begin: Store) -> None:
    assert await create(begin)
    assert not await create(begin, replace(BOOKING, id="bk_2"))

    async with begin() as work:
        assert await work.find("bk_2") is None
        assert await work.find_idempotency_record(BOOKING.rider_key) == idempotency_record(BOOKING)
        assert await work.find_idempotency_record(RiderKey(BOOKING.ride.rider_id, "k2")) is None


async def test_riders_with_equal_keys_have_bookings_of_their_own(begin: Store) -> None:
    other = replace(BOOKING, id="bk_2", ride=replace(BOOKING.ride, rider_id="other"))
    assert await create(begin)
    assert await create(begin, other, replace(FIRST, booking_id="bk_2"))
    assert not await create(begin, replace(other, id="bk_3"))

    async with begin() as work:
        assert await work.find_idempotency_record(BOOKING.rider_key) == idempotency_record(BOOKING)
        assert (await work.store_response(BOOKING.rider_key, FIRST)).booking_id == "bk_1"
        ledger = [b.id for b in await work.read_ledger("k", START, 1)]
        ledger += [b.id for b in await work.read_ledger("k", LedgerPosition("k1", "bk_1"), 1)]
        assert ledger == ["bk_1", "bk_2"]


async def test_the_first_response_is_kept(begin: Store) -> None:
    await create(begin)
    for response in (FIRST, replace(FIRST, status=201, body=b"{}")):
        async with begin() as work:
            assert await work.store_response(BOOKING.rider_key, response) == FIRST

    async with begin() as work:
        assert await work.find_idempotency_record(BOOKING.rider_key) == idempotency_record(BOOKING, FIRST)


async def test_a_response_is_stored_with_its_booking(begin: Store) -> None:
    await create(begin, BOOKING, FIRST)

    async with begin() as work:
        assert await work.find_idempotency_record(BOOKING.rider_key) == idempotency_record(BOOKING, FIRST)


async def test_the_ledger_is_ordered_by_the_bytes_of_the_keys(begin: Store) -> None:
    for key in ("b", "a-2", "a_1", "a-10", "A-1", "a-", "a%"):
        await create(begin, replace(BOOKING, id=f"bk_{key}", key=key))

    async with begin() as work:
        assert [b.key for b in await work.read_ledger("", START, 9)] == ["A-1", "a%", "a-", "a-10", "a-2", "a_1", "b"]
        assert [b.key for b in await work.read_ledger("a-", START, 9)] == ["a-", "a-10", "a-2"]
        assert [b.key for b in await work.read_ledger("a-", LedgerPosition("a-", "bk_a-"), 1)] == ["a-10"]
        assert [b.key for b in await work.read_ledger("a%", START, 9)] == ["a%"]
        assert [b.key for b in await work.read_ledger("", LedgerPosition("b", "bk_b"), 9)] == []


async def test_totals_count_every_booking_by_plan_and_state(begin: Store) -> None:
    one_way = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
    confirmed = process.apply_driver_reply(process.apply_fare_reply(BOOKING, QUOTED, NOW).booking, MATCHED, NOW).booking
    for n, plan in enumerate((PLAN, PLAN, one_way)):
        await create(begin, replace(BOOKING, id=f"bk_{n}", key=f"k{n}", plan=plan))
    async with begin() as work:
        assert await work.lock("bk_0")
        await work.save(replace(confirmed, id="bk_0", key="k0"))

    async with begin() as work:
        totals = await work.read_ledger_totals()
    assert sorted(totals, key=lambda total: (plan_label(total.couplings), total.state)) == [
        LedgerTotal(couplings=one_way, state=BookingState.REQUESTED, bookings=1),
        LedgerTotal(couplings=PLAN, state=BookingState.CONFIRMED, bookings=1),
        LedgerTotal(couplings=PLAN, state=BookingState.REQUESTED, bookings=1),
    ]


async def test_replies_advance_the_stored_booking(begin: Store) -> None:
    await create(begin)
    results: list[HandlerResult] = []
    async with begin() as work:
        results.append(await handle_fare_reply(handler_context(), QUOTED, work))
    async with begin() as work:
        results.append(await handle_driver_reply(handler_context(), MATCHED, work))
    async with begin() as work:
        results.append(
            await handle_notification_reply(handler_context("confirmed"), Unavailable(reason="deadline"), work)
        )
    async with begin() as work:
        results.append(
            await handle_notification_reply(
                handler_context("confirmed.2"), RiderNotified(notice=Notice.CONFIRMED), work
            )
        )
        booking = await work.find("bk_1")

    assert [[request.flow for request in result.requests] for result in results] == [
        ["find_driver"],
        ["notify_rider"],
        ["notify_rider"],
        [],
    ]
    assert [len(result.events) for result in results] == [0, 1, 0, 0]
    assert booking
    assert (booking.state, booking.notified_at) == (BookingState.CONFIRMED, NOW + timedelta(seconds=3))


async def test_a_late_reply_changes_nothing(begin: Store) -> None:
    await create(begin)
    ended = process.cancel(BOOKING, NOW).booking
    async with begin() as work:
        await work.save(ended)
    async with begin() as work:
        assert (
            await handle_fare_reply(handler_context(), QUOTED, work)
            == await handle_driver_reply(handler_context(), MATCHED, work)
            == HandlerResult()
        )
        assert await work.find("bk_1") == ended


async def test_a_reply_to_an_unknown_booking_is_a_permanent_failure(begin: Store) -> None:
    with pytest.raises(UnknownBooking) as raised:
        async with begin() as work:
            await handle_fare_reply(handler_context(), QUOTED, work)

    assert raised.value.cause == "unknown_booking"
