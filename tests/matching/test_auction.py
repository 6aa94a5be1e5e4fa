"""Auction step by step: winner, close, reply and verdicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.events import OfferVerdict
from prebook.contracts.fleets import DeclineCause, FleetDeclined
from prebook.contracts.matching import NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.flows import ASK_FLEET
from prebook.matching.app import auction_policy
from prebook.matching.deadlines import DEADLINE_KEY
from prebook.matching.domain.auction import AuctionPolicy
from prebook.matching.handlers import AuctionHandlers, UnknownAuction, handle_booking_ended
from prebook.messaging.handlers import HandlerResult
from prebook.patterns.scatter_gather import Choice, Completion, CompletionPolicy, ReplyCounts
from prebook.testing.configuration import make_settings
from tests.matching.memory import MemoryMatching
from tests.matching.messages import (
    FLEETS,
    POLICY,
    RIDE,
    SLOT,
    booking_ended,
    find_driver,
    handle_fleet_reply,
    handler_context,
    matched,
    offer,
    verdicts,
)

ACCEPTED, DECLINED = OfferVerdict.ACCEPTED, OfferVerdict.DECLINED
NO = FleetDeclined(fleet="any", reason="busy")


async def open_auctions(*booking_ids: str) -> Any:
    work: Any = MemoryMatching()
    for booking_id in booking_ids:
        await find_driver(handler_context(booking_id), RIDE, work)
    return work


async def apply_reply(work: Any, booking_id: str, fleet: str, reply: Message) -> HandlerResult:
    return await handle_fleet_reply(handler_context(booking_id, fleet), reply, work)  # type: ignore[arg-type]


async def apply_replies(work: Any, booking_id: str, replies: Sequence[Message]) -> list[HandlerResult]:
    return [await apply_reply(work, booking_id, fleet, reply) for fleet, reply in zip(FLEETS, replies, strict=True)]


async def test_a_new_auction_sends_one_request_per_fleet_and_no_reply() -> None:
    result = await find_driver(handler_context("b1"), RIDE, MemoryMatching())  # type: ignore[arg-type]
    assert [(request.flow, request.key, request.body.fleet) for request in result.requests] == [  # type: ignore[attr-defined]
        (ASK_FLEET.name, fleet, fleet) for fleet in FLEETS
    ]
    assert (result.reply, result.events) == (None, ())


async def test_two_offers_are_enough_and_the_nearer_one_wins() -> None:
    work = await open_auctions("b1")
    first, second, third = await apply_replies(work, "b1", [offer("ada", 9), offer("borealis", 4), offer("cargo", 1)])
    assert first == HandlerResult()
    assert second.reply == matched("borealis", 4, 2)
    assert verdicts(second) == {"borealis": ACCEPTED, "ada": DECLINED}
    assert third.reply is None
    assert verdicts(third) == {"cargo": OfferVerdict.LATE}
    assert work.auctions["b1"].late_offers == 1


async def test_equally_near_offers_are_ranked_by_name() -> None:
    work = await open_auctions("b1")
    results = await apply_replies(work, "b1", [NO, offer("borealis", 5), offer("cargo", 5)])
    assert verdicts(results[2]) == {"borealis": ACCEPTED, "cargo": DECLINED}


async def test_a_single_offer_wins_once_all_fleets_have_replied() -> None:
    work = await open_auctions("b1")
    results = await apply_replies(work, "b1", [offer("ada", 7), NO, Unavailable(reason="deadline")])
    assert [result.reply for result in results[:2]] == [None, None]
    assert results[2].reply == matched("ada", 7, 2)


async def test_an_auction_without_offers_finds_no_driver() -> None:
    results = await apply_replies(await open_auctions("b1"), "b1", [NO, Unavailable(reason="unreachable"), NO])
    assert [result.reply for result in results[:2]] == [None, None]
    assert results[2].reply == NoDriverFound(fleets_asked=3, reason="no fleet has a driver", fleets_replied=2)


async def test_the_second_best_offer_wins_if_the_best_driver_is_taken() -> None:
    work = await open_auctions("b1")
    work.assignments["ada-0001", SLOT] = "another booking"
    _, second, _ = await apply_replies(work, "b1", [offer("ada", 1), offer("borealis", 8), NO])
    assert second.reply == matched("borealis", 8, 2)
    assert verdicts(second) == {"borealis": ACCEPTED, "ada": DECLINED}


async def test_an_auction_whose_offers_are_all_taken_waits_for_the_last_fleet() -> None:
    work = await open_auctions("b1")
    work.assignments.update({("ada-0001", SLOT): "x", ("borealis-0001", SLOT): "y"})
    _, second, third = await apply_replies(work, "b1", [offer("ada", 1), offer("borealis", 2), offer("cargo", 9)])
    assert second.reply is None
    assert verdicts(second) == {"ada": DECLINED, "borealis": DECLINED}
    assert third.reply == matched("cargo", 9, 3)
    assert verdicts(third) == {"cargo": ACCEPTED}


async def test_an_auction_whose_offers_are_all_taken_ends_without_a_driver() -> None:
    work = await open_auctions("b1")
    work.assignments.update({("ada-0001", SLOT): "x", ("borealis-0001", SLOT): "y"})
    results = await apply_replies(work, "b1", [offer("ada", 1), offer("borealis", 2), NO])
    assert results[2].reply == NoDriverFound(
        fleets_asked=3, reason="every driver offered has been taken", fleets_replied=3
    )


async def test_only_the_first_reply_of_a_fleet_counts() -> None:
    work = await open_auctions("b1")
    await apply_reply(work, "b1", "ada", offer("ada", 5))
    assert await apply_reply(work, "b1", "ada", offer("ada", 1, "ada-0002")) == HandlerResult()
    assert [offer.driver for offer in work.auctions["b1"].offers] == ["ada-0001"]


async def test_the_request_of_a_fleet_without_an_answer_is_withdrawn() -> None:
    work = await open_auctions("b1")
    silent = Unavailable(reason="unreachable")
    first, second, last = await apply_replies(work, "b1", [silent, offer("borealis", 4), silent])
    assert verdicts(first) == {"ada": OfferVerdict.WITHDRAWN}
    assert verdicts(second) == {}
    assert verdicts(last) == {"cargo": OfferVerdict.WITHDRAWN, "borealis": ACCEPTED}


async def test_the_request_of_a_fleet_without_an_answer_is_withdrawn_after_the_end_of_the_booking() -> None:
    work = await open_auctions("b1")
    await handle_booking_ended(handler_context("b1"), booking_ended("b1"), work)
    for _ in range(2):
        late = await apply_reply(work, "b1", "ada", Unavailable(reason="deadline"))
    assert verdicts(late) == {}, "only the first reply of a fleet counts"
    assert verdicts(await apply_reply(work, "b1", "cargo", Unavailable(reason="deadline"))) == {
        "cargo": OfferVerdict.WITHDRAWN
    }


async def test_a_reply_to_an_unknown_auction_is_a_permanent_failure() -> None:
    with pytest.raises(UnknownAuction, match="b1 has no auction"):
        await apply_reply(MemoryMatching(), "b1", "ada", offer("ada", 5))


async def test_the_end_of_a_matched_booking_releases_the_driver_once() -> None:
    work = await open_auctions("b1", "b2")
    await apply_replies(work, "b1", [offer("ada", 1), offer("borealis", 2), NO])
    released = await handle_booking_ended(handler_context("b1"), booking_ended("b1"), work)
    assert (released.reply, verdicts(released)) == (None, {"ada": OfferVerdict.RELEASED})
    assert work.assignments == {}
    assert await handle_booking_ended(handler_context("b1"), booking_ended("b1"), work) == HandlerResult()
    results = await apply_replies(work, "b2", [offer("ada", 1), offer("borealis", 2), NO])
    assert verdicts(results[1])["ada"] is ACCEPTED


async def test_the_end_of_a_booking_closes_its_open_auction() -> None:
    work = await open_auctions("b1")
    await apply_reply(work, "b1", "ada", offer("ada", 5))
    closed = await handle_booking_ended(handler_context("b1"), booking_ended("b1"), work)
    assert closed.reply == NoDriverFound(fleets_asked=3, reason="the booking has ended", fleets_replied=1)
    assert verdicts(closed) == {"ada": DECLINED}
    assert verdicts(await apply_reply(work, "b1", "cargo", offer("cargo", 5))) == {"cargo": OfferVerdict.LATE}


async def test_a_request_after_the_end_of_its_booking_is_refused() -> None:
    work: Any = MemoryMatching()
    assert await handle_booking_ended(handler_context("b1"), booking_ended("b1"), work) == HandlerResult()
    late = await find_driver(handler_context("b1"), RIDE, work)
    assert late == HandlerResult(reply=NoDriverFound(fleets_asked=0, reason="the booking has ended"))


def handlers_with(**policy: Any) -> AuctionHandlers:
    return AuctionHandlers(replace(POLICY, **policy))


async def test_an_overdue_auction_is_decided_by_its_deadline_and_says_how_many_fleets_replied() -> None:
    work = await open_auctions("b1")
    assert await apply_reply(work, "b1", "ada", offer("ada", 7)) == HandlerResult()
    work.age = timedelta(seconds=4.9)
    assert await work.list_overdue(10) == []
    work.age = timedelta(seconds=5)
    assert await work.list_overdue(10) == ["b1"]
    decided = await apply_reply(work, "b1", DEADLINE_KEY, Unavailable(reason="deadline"))
    assert decided.reply == matched("ada", 7, 1)
    assert verdicts(decided) == {"ada": ACCEPTED}
    assert await work.list_overdue(10) == []
    assert verdicts(await apply_reply(work, "b1", "cargo", offer("cargo", 1))) == {"cargo": OfferVerdict.LATE}
    auction = work.auctions["b1"]
    assert (auction.completed_by, auction.replies) == (Completion.DEADLINE, ReplyCounts(used=1, late=1))


async def test_an_overdue_auction_without_an_offer_takes_the_first_one() -> None:
    work = await open_auctions("b1")
    await apply_reply(work, "b1", "ada", NO)
    work.age = timedelta(seconds=100)
    assert await work.list_overdue(10) == []
    assert await apply_reply(work, "b1", DEADLINE_KEY, Unavailable(reason="deadline")) == HandlerResult()
    assert (await apply_reply(work, "b1", "cargo", offer("cargo", 9))).reply == matched("cargo", 9, 2)


async def test_each_reply_is_counted_by_its_verdict() -> None:
    work = await open_auctions("b1")
    garbled = FleetDeclined(fleet="ada", reason="unreadable reply", cause=DeclineCause.UNREADABLE)
    silent = FleetDeclined(fleet="borealis", reason="no reply in time", cause=DeclineCause.NO_REPLY)
    *_, last = await apply_replies(work, "b1", [garbled, silent, offer("cargo", 3)])
    assert last.reply == matched("cargo", 3, 2)
    await apply_reply(work, "b1", "cargo", offer("cargo", 4, "cargo-0002"))
    auction = work.auctions["b1"]
    assert auction.replies == ReplyCounts(used=1, unreadable=1, missing=1, duplicate=1)
    assert auction.verdicts == {"ada": ("unreadable",), "borealis": ("missing",), "cargo": ("used", "duplicate")}
    assert auction.completed_by is Completion.ALL_REPLIED


async def test_with_more_offers_to_wait_for_than_fleets_the_auction_waits_for_all() -> None:
    handlers = handlers_with(completion=CompletionPolicy(enough=4, deadline_s=5.0))
    work = await open_auctions("b1")
    replies = [
        (await handlers.handle_fleet_reply(handler_context("b1", fleet), offer(fleet, 9 - number), work)).reply
        for number, fleet in enumerate(FLEETS)
    ]
    assert replies == [None, None, matched("cargo", 7, 3)]


async def test_the_policy_may_accept_the_first_offer() -> None:
    handlers = handlers_with(choice=Choice.FIRST)
    work = await open_auctions("b1")
    await handlers.handle_fleet_reply(handler_context("b1", "ada"), offer("ada", 9), work)
    second = await handlers.handle_fleet_reply(handler_context("b1", "cargo"), offer("cargo", 1), work)
    assert second.reply == matched("ada", 9, 2)


def test_the_policy_comes_from_the_settings() -> None:
    policy = auction_policy(make_settings(fleets=("ada",), min_offers=1, offer_deadline_s=0.5, offer_choice="first"))
    completion = CompletionPolicy(enough=1, deadline_s=0.5)
    assert policy == AuctionPolicy(fleets=("ada",), completion=completion, choice=Choice.FIRST)
    assert auction_policy(make_settings()) == POLICY
