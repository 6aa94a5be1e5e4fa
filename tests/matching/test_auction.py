"""One auction, step by step: who wins, when it closes, and what everybody is told."""

from collections.abc import Sequence
from typing import Any

import pytest

from prebook.contracts.events import OfferVerdict
from prebook.contracts.fleets import FleetDeclined
from prebook.contracts.matching import DriverMatched, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.flows import ASK_FLEET
from prebook.matching.handlers import FLEETS, UnknownAuction, find_driver, handle_booking_ended, handle_fleet_reply
from prebook.messaging.handlers import HandlerResult
from tests.matching.memory import MemoryMatching
from tests.matching.rides import RIDE, SLOT, about, ended, offer, verdicts

ACCEPTED, DECLINED = OfferVerdict.ACCEPTED, OfferVerdict.DECLINED
NO = FleetDeclined(fleet="any", reason="busy")


async def opened(*booking_ids: str) -> Any:
    work: Any = MemoryMatching()
    for booking_id in booking_ids:
        await find_driver(about(booking_id), RIDE, work)
    return work


async def hear(work: Any, booking_id: str, fleet: str, news: Message) -> HandlerResult:
    return await handle_fleet_reply(about(booking_id, fleet), news, work)  # type: ignore[arg-type]


async def hear_all(work: Any, booking_id: str, news: Sequence[Message]) -> list[HandlerResult]:
    return [await hear(work, booking_id, fleet, body) for fleet, body in zip(FLEETS, news, strict=True)]


async def test_every_fleet_is_asked_once_and_nobody_is_answered_yet() -> None:
    outcome = await find_driver(about("b1"), RIDE, MemoryMatching())  # type: ignore[arg-type]
    assert [(ask.flow, ask.key, ask.body.fleet) for ask in outcome.requests] == [  # type: ignore[attr-defined]
        (ASK_FLEET.name, fleet, fleet) for fleet in FLEETS
    ]
    assert (outcome.reply, outcome.events) == (None, ())


async def test_two_offers_are_enough_and_the_nearer_one_wins() -> None:
    work = await opened("b1")
    first, second, third = await hear_all(work, "b1", [offer("ada", 9), offer("borealis", 4), offer("cargo", 1)])
    assert first == HandlerResult()
    assert second.reply == DriverMatched(fleet="borealis", driver="borealis-0001", minutes_away=4)
    assert verdicts(second) == {"borealis": ACCEPTED, "ada": DECLINED}
    assert third.reply is None
    assert verdicts(third) == {"cargo": OfferVerdict.LATE}
    assert work.auctions["b1"].late_offers == 1


async def test_equally_near_offers_are_ranked_by_name() -> None:
    work = await opened("b1")
    outcomes = await hear_all(work, "b1", [NO, offer("borealis", 5), offer("cargo", 5)])
    assert verdicts(outcomes[2]) == {"borealis": ACCEPTED, "cargo": DECLINED}


async def test_one_offer_wins_once_the_others_have_spoken() -> None:
    work = await opened("b1")
    outcomes = await hear_all(work, "b1", [offer("ada", 7), NO, Unavailable(reason="deadline")])
    assert [outcome.reply for outcome in outcomes[:2]] == [None, None]
    assert outcomes[2].reply == DriverMatched(fleet="ada", driver="ada-0001", minutes_away=7)


async def test_nobody_has_a_driver() -> None:
    outcomes = await hear_all(await opened("b1"), "b1", [NO, Unavailable(reason="unreachable"), NO])
    assert [outcome.reply for outcome in outcomes[:2]] == [None, None]
    assert outcomes[2].reply == NoDriverFound(fleets_asked=3, reason="no fleet has a driver")


async def test_the_next_best_is_taken_where_the_best_has_been_given_away() -> None:
    work = await opened("b1")
    work.assignments["ada-0001", SLOT] = "somebody"
    _, second, _ = await hear_all(work, "b1", [offer("ada", 1), offer("borealis", 8), NO])
    assert second.reply == DriverMatched(fleet="borealis", driver="borealis-0001", minutes_away=8)
    assert verdicts(second) == {"borealis": ACCEPTED, "ada": DECLINED}


async def test_with_all_offers_given_away_the_auction_waits_for_the_last_fleet() -> None:
    work = await opened("b1")
    work.assignments.update({("ada-0001", SLOT): "x", ("borealis-0001", SLOT): "y"})
    _, second, third = await hear_all(work, "b1", [offer("ada", 1), offer("borealis", 2), offer("cargo", 9)])
    assert second.reply is None
    assert verdicts(second) == {"ada": DECLINED, "borealis": DECLINED}
    assert third.reply == DriverMatched(fleet="cargo", driver="cargo-0001", minutes_away=9)
    assert verdicts(third) == {"cargo": ACCEPTED}


async def test_with_all_offers_given_away_and_nobody_left_there_is_no_driver() -> None:
    work = await opened("b1")
    work.assignments.update({("ada-0001", SLOT): "x", ("borealis-0001", SLOT): "y"})
    outcomes = await hear_all(work, "b1", [offer("ada", 1), offer("borealis", 2), NO])
    assert outcomes[2].reply == NoDriverFound(fleets_asked=3, reason="every driver offered was taken meanwhile")


async def test_a_fleet_has_one_say() -> None:
    work = await opened("b1")
    await hear(work, "b1", "ada", offer("ada", 5))
    assert await hear(work, "b1", "ada", offer("ada", 1, "ada-0002")) == HandlerResult()
    assert [held.driver for held in work.auctions["b1"].offers] == ["ada-0001"]


async def test_an_answer_to_an_unknown_auction_is_told_and_not_swallowed() -> None:
    with pytest.raises(UnknownAuction, match="b1 has no auction"):
        await hear(MemoryMatching(), "b1", "ada", offer("ada", 5))


async def test_the_end_of_a_matched_booking_frees_the_driver_once() -> None:
    work = await opened("b1", "b2")
    await hear_all(work, "b1", [offer("ada", 1), offer("borealis", 2), NO])
    released = await handle_booking_ended(about("b1"), ended("b1"), work)
    assert (released.reply, verdicts(released)) == (None, {"ada": OfferVerdict.RELEASED})
    assert work.assignments == {}
    assert await handle_booking_ended(about("b1"), ended("b1"), work) == HandlerResult()
    outcomes = await hear_all(work, "b2", [offer("ada", 1), offer("borealis", 2), NO])
    assert verdicts(outcomes[1])["ada"] is ACCEPTED


async def test_the_end_of_a_booking_closes_its_open_auction() -> None:
    work = await opened("b1")
    await hear(work, "b1", "ada", offer("ada", 5))
    closed = await handle_booking_ended(about("b1"), ended("b1"), work)
    assert closed.reply == NoDriverFound(fleets_asked=3, reason="the booking has ended")
    assert verdicts(closed) == {"ada": DECLINED}
    assert verdicts(await hear(work, "b1", "cargo", offer("cargo", 5))) == {"cargo": OfferVerdict.LATE}


async def test_a_request_that_comes_after_the_end_of_its_booking_asks_nobody() -> None:
    work: Any = MemoryMatching()
    assert await handle_booking_ended(about("b1"), ended("b1"), work) == HandlerResult()
    late = await find_driver(about("b1"), RIDE, work)
    assert late == HandlerResult(reply=NoDriverFound(fleets_asked=0, reason="the booking has ended"))
