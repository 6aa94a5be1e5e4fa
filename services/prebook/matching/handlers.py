"""Matching's handlers: load, decide, save."""

from datetime import timedelta

from prebook.contracts.events import BookingEnded
from prebook.contracts.fleets import FleetReply
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Unavailable
from prebook.matching import process
from prebook.matching.domain.auction import Auction
from prebook.matching.process import MAX_AUCTION_AGE, AuctionTransition
from prebook.matching.store import MatchingWork
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.handlers import HandlerContext, HandlerResult

FLEETS = ("ada", "borealis", "cargo")
"""Whom every auction asks."""


class UnknownAuction(PermanentFailure):
    """A fleet's answer to an auction that was never opened, or a row that vanished under its lock."""

    cause = "unknown_auction"


async def find_driver(context: HandlerContext, request: FindDriver, work: MatchingWork) -> HandlerResult:
    step = process.start(context.conversation_id, request, FLEETS)
    if not await work.open_auction(step.auction):
        step = process.refuse(context.conversation_id)
    return HandlerResult(step.reply, step.requests, step.events)


async def handle_fleet_reply(
    context: HandlerContext, reply: FleetReply | Unavailable, work: MatchingWork
) -> HandlerResult:
    auction, age = await _lock_auction(context, work)
    step = process.apply_fleet_reply(auction, context.request_key, reply)
    if step.auction.is_complete:
        step = await _decide(step.auction, work) if age < MAX_AUCTION_AGE else process.expire(step.auction)
    if step.auction != auction:
        await work.save(step.auction)
    return HandlerResult(step.reply, step.requests, step.events)


async def handle_booking_ended(context: HandlerContext, _: BookingEnded, work: MatchingWork) -> HandlerResult:
    """Also where the booking ends before its request for a driver gets here: then that finds a closed auction."""
    # Insert first: it waits for a request that is opening the auction right now, a look would miss it.
    if await work.open_auction(process.refuse(context.conversation_id).auction):
        return HandlerResult()
    auction, _age = await _lock_auction(context, work)
    step = process.cancel(auction)
    await work.unassign(context.conversation_id)
    await work.save(step.auction)
    return HandlerResult(step.reply, step.requests, step.events)


async def _lock_auction(context: HandlerContext, work: MatchingWork) -> tuple[Auction, timedelta]:
    found = await work.lock_auction(context.conversation_id)
    if found is None:
        raise UnknownAuction(
            f"booking {context.conversation_id} has no auction here: "
            "look whether matching's tables were restored or emptied"
        )
    return found


async def _decide(auction: Auction, work: MatchingWork) -> AuctionTransition:
    """The best offer whose driver's slot can be had."""
    for offer in auction.ranked_offers:
        if await work.assign(auction.booking_id, offer):
            return process.decide(auction, offer)
    return process.decide(auction, None)
