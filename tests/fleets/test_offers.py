"""Fleets' handlers: an accepting partner needs a free driver, and the verdict ends the reservation."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, DeclineCause, FleetDeclined, FleetOffered
from prebook.fleets.domain.fleet import FLEETS, MAX_CANDIDATES, RESERVATION_TTL, Fleet, candidate_drivers
from prebook.fleets.domain.message_translators import TRANSLATORS, PartnerAccepted, PartnerDeclined
from prebook.fleets.handlers import MAX_KEPT_BYTES, handle_offer_settled, offer_driver, partner_caller
from prebook.fleets.partner_exchange import MAX_KEPT_MEDIA_TYPE_CHARS, NoReply, PartnerExchange
from prebook.fleets.partners.simulation import PartnerCall
from prebook.fleets.store import Reservation, UnreadableReply
from prebook.messaging.handlers import HandlerResult
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage
from tests.fleets.memory import MemoryFleets
from tests.fleets.requests import NOW, PICKUP_AT, SLOT, fleet_request, handler_context

YES = PartnerExchange(fleet_request("ada"), PartnerAccepted(6))


async def make_offer(work: Any, booking_id: str = "b1", exchange: PartnerExchange = YES) -> FleetOffered:
    reply = (await offer_driver(handler_context(booking_id), exchange, work)).reply
    assert isinstance(reply, FleetOffered)
    return reply


def offer_settled(made: FleetOffered, verdict: OfferVerdict, booking_id: str = "b1") -> OfferSettled:
    return OfferSettled(booking_id=booking_id, fleet=made.fleet, driver=made.driver, verdict=verdict)


ADA_REPLY = TRANSLATORS["ada"].reply_type


def replying_partner(reply: ForeignMessage) -> PartnerCall:
    async def partner(_: bytes) -> ForeignMessage:
        return reply

    return partner


async def call_partner(reply: bytes, request: AskFleet | None = None, media_type: str = ADA_REPLY) -> PartnerExchange:
    call = partner_caller({"ada": replying_partner(ForeignMessage(media_type, reply))}, 5.0)
    return await call(handler_context("b1"), request or fleet_request("ada"))


async def test_an_accepting_partner_gives_an_offer_of_a_driver_in_the_slot() -> None:
    work: Any = MemoryFleets()
    exchange = await call_partner(b'{"status": "OK", "eta_s": 301}')
    made = await make_offer(work, exchange=exchange)
    assert (made.fleet, made.slot, made.minutes_away) == ("ada", SLOT, 6)
    assert list(work.reservations) == [("ada", made.driver, SLOT)]


async def test_a_declining_partner_gives_a_refusal_without_a_reservation() -> None:
    work: Any = MemoryFleets()
    result = await offer_driver(handler_context("b1"), await call_partner(b'{"status": "NO_CAPACITY"}'), work)
    assert result == HandlerResult(FleetDeclined(fleet="ada", reason="NO_CAPACITY"))
    assert work.reservations == {}


@pytest.mark.parametrize(
    ("media_type", "cause"),
    [(ADA_REPLY, UnreadableCause.GARBLED), ("text/html", UnreadableCause.UNKNOWN_VERSION)],
)
async def test_an_unreadable_reply_gives_a_refusal_and_is_recorded(media_type: str, cause: UnreadableCause) -> None:
    work: Any = MemoryFleets()
    exchange = await call_partner(b"<html>502</html>", media_type=media_type)
    result = await offer_driver(handler_context("b1"), exchange, work)
    assert result == HandlerResult(FleetDeclined(fleet="ada", reason="unreadable reply", cause=DeclineCause.UNREADABLE))
    assert exchange.outcome == cause
    assert work.unreadable["b1", "ada"] == UnreadableReply(
        booking_id="b1",
        fleet="ada",
        message_id="b1.request",
        received_at=NOW,
        unreadable=UnreadableMessage(cause, ForeignMessage(media_type, b"<html>502</html>")),
    )


async def test_a_huge_unreadable_reply_is_kept_in_part() -> None:
    work: Any = MemoryFleets()
    await offer_driver(handler_context("b1"), await call_partner(b"<" * 10_000_000, media_type="x" * 10_000), work)
    kept = work.unreadable["b1", "ada"].unreadable.message
    assert (len(kept.body), len(kept.media_type)) == (MAX_KEPT_BYTES, MAX_KEPT_MEDIA_TYPE_CHARS)


async def test_an_unknown_fleet_declines() -> None:
    assert (await call_partner(b"", fleet_request("zeppelin"))).reply == PartnerDeclined("no such fleet")


async def test_a_partner_that_times_out_declines() -> None:
    async def silent(_: bytes) -> ForeignMessage:
        await asyncio.Event().wait()
        raise AssertionError

    exchange = await asyncio.wait_for(
        partner_caller({"ada": silent}, timeout_s=0.01)(handler_context("b1"), fleet_request("ada")), 5
    )
    assert exchange.reply == NoReply()
    work: Any = MemoryFleets()
    result = await offer_driver(handler_context("b1"), exchange, work)
    assert result.reply == FleetDeclined(fleet="ada", reason="no reply in time", cause=DeclineCause.NO_REPLY)


async def test_no_driver_is_reserved_twice_in_one_slot() -> None:
    work: Any = MemoryFleets()
    made = [await make_offer(work, f"b{number}") for number in range(200)]
    assert len({each.driver for each in made}) == 200


async def test_no_driver_is_offered_for_two_rides_that_overlap_in_neighbouring_slots() -> None:
    """Every driver has a ride until 8:40; the next ride begins at 8:35."""
    work: Any = MemoryFleets()
    first = await make_offer(work, exchange=PartnerExchange(fleet_request(ride_minutes=20), PartnerAccepted(6)))
    booked_slots = {key[2] for key in work.reservations}
    assert booked_slots == {SLOT, SLOT + timedelta(minutes=15)}
    for driver in candidate_drivers(FLEETS["ada"], "b2"):
        work.reservations["ada", driver, SLOT + timedelta(minutes=15)] = work.reservations["ada", first.driver, SLOT]
    later = PartnerExchange(fleet_request(pickup_at=PICKUP_AT + timedelta(minutes=15)), PartnerAccepted(6))
    result = await offer_driver(handler_context("b2"), later, work)
    assert result == HandlerResult(FleetDeclined(fleet="ada", reason="no driver left for the time of the ride"))


async def test_a_verdict_applies_to_every_slot_of_the_ride() -> None:
    work: Any = MemoryFleets()
    made = await make_offer(work, exchange=PartnerExchange(fleet_request(ride_minutes=60), PartnerAccepted(6)))
    await handle_offer_settled(handler_context("b1"), offer_settled(made, OfferVerdict.ACCEPTED), work)
    assert [stored.confirmed for stored in work.reservations.values()] == [True] * 5
    await handle_offer_settled(handler_context("b1"), offer_settled(made, OfferVerdict.RELEASED), work)
    assert work.reservations == {}


async def test_a_full_slot_gives_a_refusal() -> None:
    work: Any = MemoryFleets()
    for driver in candidate_drivers(FLEETS["ada"], "b1"):
        work.reservations["ada", driver, SLOT] = await _reservation_of_another_booking(driver)
    result = await offer_driver(handler_context("b1"), YES, work)
    assert result == HandlerResult(FleetDeclined(fleet="ada", reason="no driver left for the time of the ride"))


async def _reservation_of_another_booking(driver: str) -> Any:
    elsewhere: Any = MemoryFleets()
    await make_offer(elsewhere, f"for {driver}")
    return next(iter(elsewhere.reservations.values()))


async def test_an_accepted_offer_makes_the_reservation_permanent() -> None:
    work: Any = MemoryFleets()
    made = await make_offer(work)
    for _ in range(2):
        assert (
            await handle_offer_settled(handler_context("b1"), offer_settled(made, OfferVerdict.ACCEPTED), work)
            == HandlerResult()
        )
    (stored,) = work.reservations.values()
    assert stored.confirmed
    assert not stored.is_over(NOW + timedelta(days=1))


@pytest.mark.parametrize("verdict", [OfferVerdict.DECLINED, OfferVerdict.LATE, OfferVerdict.RELEASED])
async def test_any_other_verdict_releases_the_driver_idempotently(verdict: OfferVerdict) -> None:
    work: Any = MemoryFleets()
    made = await make_offer(work)
    for _ in range(2):
        await handle_offer_settled(handler_context("b1"), offer_settled(made, verdict), work)
        assert work.reservations == {}


@pytest.mark.parametrize("verdict", list(OfferVerdict))
async def test_a_verdict_on_an_unknown_reservation_changes_nothing(verdict: OfferVerdict) -> None:
    work: Any = MemoryFleets()
    made = await make_offer(work)
    before = dict(work.reservations)
    await handle_offer_settled(handler_context("b2"), offer_settled(made, verdict, "b2"), work)
    assert work.reservations == before


async def test_a_reservation_without_a_verdict_expires() -> None:
    work: Any = MemoryFleets()
    candidates = candidate_drivers(FLEETS["ada"], "b1")[:1]
    from_b1 = await _reserve(work, "b1", candidates, timedelta(0))
    assert await _reserve(work, "b2", candidates, RESERVATION_TTL) is None
    assert await _reserve(work, "b2", candidates, RESERVATION_TTL + timedelta(seconds=1)) == from_b1


async def _reserve(work: Any, booking_id: str, candidates: list[str], elapsed: timedelta) -> str | None:
    now = NOW + elapsed
    reservation = Reservation(
        fleet="ada", slots=[SLOT], booking_id=booking_id, now=now, expires_at=now + RESERVATION_TTL
    )
    driver: str | None = await work.reserve(reservation, candidates)
    return driver


def test_candidates_are_distinct_drivers_and_differ_by_booking() -> None:
    first = candidate_drivers(FLEETS["ada"], "b1")
    second = candidate_drivers(FLEETS["ada"], "b2")
    assert len(set(first)) == MAX_CANDIDATES
    assert first != second
    assert sorted(candidate_drivers(Fleet("ada", drivers=3), "b1")) == ["ada-0000", "ada-0001", "ada-0002"]
