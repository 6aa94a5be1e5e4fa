"""Fleets' handlers: an accepting partner needs a free driver, and a hold ends as the auction says."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.fleets.domain.fleet import FLEETS, MAX_CANDIDATES, RESERVATION_TTL, Fleet, candidate_drivers
from prebook.fleets.domain.message_translators import PartnerAccepted, PartnerDeclined
from prebook.fleets.handlers import PartnerExchange, handle_offer_settled, offer_driver, partner_caller
from prebook.fleets.store import Reservation
from prebook.messaging.handlers import HandlerResult
from tests.fleets.asks import NOW, SLOT, about, ask
from tests.fleets.memory import MemoryFleets

YES = PartnerExchange(ask("ada"), PartnerAccepted(6))


async def offered(work: Any, booking_id: str = "b1", heard: PartnerExchange = YES) -> FleetOffered:
    answer = (await offer_driver(about(booking_id), heard, work)).reply
    assert isinstance(answer, FleetOffered)
    return answer


def settled(made: FleetOffered, verdict: OfferVerdict, booking_id: str = "b1") -> OfferSettled:
    return OfferSettled(booking_id=booking_id, fleet=made.fleet, driver=made.driver, verdict=verdict)


def saying(reply: bytes) -> Callable[[bytes], Awaitable[bytes]]:
    async def partner(_: bytes) -> bytes:
        return reply

    return partner


async def heard_from(reply: bytes, question: AskFleet | None = None) -> PartnerExchange:
    return await partner_caller({"ada": saying(reply)})(about("b1"), question or ask("ada"))


async def test_an_accepting_partner_becomes_an_offer_of_a_driver_in_the_slot() -> None:
    work: Any = MemoryFleets()
    heard = await heard_from(b'{"status": "OK", "eta_s": 301}')
    made = await offered(work, heard=heard)
    assert (made.fleet, made.slot, made.minutes_away) == ("ada", SLOT, 6)
    assert list(work.reservations) == [("ada", made.driver, SLOT)]


async def test_a_declining_partner_becomes_a_refusal_and_holds_nobody() -> None:
    work: Any = MemoryFleets()
    outcome = await offer_driver(about("b1"), await heard_from(b'{"status": "NO_CAPACITY"}'), work)
    assert outcome == HandlerResult(FleetDeclined(fleet="ada", reason="NO_CAPACITY"))
    assert work.reservations == {}


async def test_an_unreadable_partner_becomes_a_refusal_and_is_counted() -> None:
    work: Any = MemoryFleets()
    outcome = await offer_driver(about("b1"), await heard_from(b"<html>502</html>"), work)
    assert outcome == HandlerResult(FleetDeclined(fleet="ada", reason="unreadable reply"))
    assert work.unreadable == {("b1", "ada"): "'<html>502</html>'"}


async def test_a_fleet_that_nobody_knows_declines() -> None:
    assert (await heard_from(b"", ask("zeppelin"))).reply == PartnerDeclined("no such fleet")


async def test_a_silent_partner_declines_when_patience_ends() -> None:
    async def silent(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    heard = await asyncio.wait_for(partner_caller({"ada": silent}, timeout_s=0.01)(about("b1"), ask("ada")), 5)
    assert heard.reply == PartnerDeclined("no reply in time")


async def test_no_driver_is_held_for_two_bookings_of_one_slot() -> None:
    work: Any = MemoryFleets()
    made = [await offered(work, f"b{number}") for number in range(200)]
    assert len({each.driver for each in made}) == 200


async def test_a_full_slot_has_no_driver_left() -> None:
    work: Any = MemoryFleets()
    for driver in candidate_drivers(FLEETS["ada"], "b1"):
        work.reservations["ada", driver, SLOT] = await _held_by_somebody(driver)
    outcome = await offer_driver(about("b1"), YES, work)
    assert outcome == HandlerResult(FleetDeclined(fleet="ada", reason="no driver left in the slot"))


async def _held_by_somebody(driver: str) -> Any:
    elsewhere: Any = MemoryFleets()
    await offered(elsewhere, f"for {driver}")
    return next(iter(elsewhere.reservations.values()))


async def test_an_accepted_offer_stays_held_for_ever() -> None:
    work: Any = MemoryFleets()
    made = await offered(work)
    for _ in range(2):
        assert await handle_offer_settled(about("b1"), settled(made, OfferVerdict.ACCEPTED), work) == HandlerResult()
    (held,) = work.reservations.values()
    assert held.confirmed
    assert not held.is_over(NOW + timedelta(days=1))


@pytest.mark.parametrize("verdict", [OfferVerdict.DECLINED, OfferVerdict.LATE, OfferVerdict.RELEASED])
async def test_any_other_verdict_frees_the_driver_once_and_again(verdict: OfferVerdict) -> None:
    work: Any = MemoryFleets()
    made = await offered(work)
    for _ in range(2):
        await handle_offer_settled(about("b1"), settled(made, verdict), work)
        assert work.reservations == {}


@pytest.mark.parametrize("verdict", list(OfferVerdict))
async def test_a_verdict_on_an_unknown_hold_changes_nothing(verdict: OfferVerdict) -> None:
    work: Any = MemoryFleets()
    made = await offered(work)
    before = dict(work.reservations)
    await handle_offer_settled(about("b2"), settled(made, verdict, "b2"), work)
    assert work.reservations == before


async def test_a_hold_that_nobody_settles_runs_out() -> None:
    work: Any = MemoryFleets()
    tried = candidate_drivers(FLEETS["ada"], "b1")[:1]
    from_b1 = await _hold(work, "b1", tried, timedelta(0))
    assert await _hold(work, "b2", tried, RESERVATION_TTL) is None
    assert await _hold(work, "b2", tried, RESERVATION_TTL + timedelta(seconds=1)) == from_b1


async def _hold(work: Any, booking_id: str, tried: list[str], later: timedelta) -> str | None:
    now = NOW + later
    hold = Reservation(fleet="ada", slot=SLOT, booking_id=booking_id, now=now, expires_at=now + RESERVATION_TTL)
    driver: str | None = await work.reserve(hold, tried)
    return driver


def test_candidates_are_different_drivers_of_the_fleet_and_differ_by_booking() -> None:
    first, second = candidate_drivers(FLEETS["ada"], "b1"), candidate_drivers(FLEETS["ada"], "b2")
    assert len(set(first)) == MAX_CANDIDATES
    assert first != second
    assert sorted(candidate_drivers(Fleet("ada", drivers=3), "b1")) == ["ada-0000", "ada-0001", "ada-0002"]
