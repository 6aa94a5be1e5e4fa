"""Matching's handlers: load, decide, save."""

from prebook.contracts.facts import BookingEnded
from prebook.contracts.fleets import FleetAnswer
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Unavailable
from prebook.matching import process
from prebook.matching.domain.auction import Auction, Offer
from prebook.matching.process import Step
from prebook.matching.store import MatchingWork
from prebook.messaging.outcome import Context, Outcome

FLEETS = ("ada", "borealis", "cargo")


async def find_driver(about: Context, ride: FindDriver, work: MatchingWork) -> Outcome:
    step = process.opened(about.conversation, ride, FLEETS)
    if not await work.open_auction(step.auction):
        step = process.refused(about.conversation)
    return Outcome(step.answer, step.asks, step.facts)


async def fleet_heard(about: Context, news: FleetAnswer | Unavailable, work: MatchingWork) -> Outcome:
    auction = await work.auction(about.conversation)
    if auction is None:
        raise UnknownAuction(f"a fleet answered booking {about.conversation}, for which no auction was ever opened")
    step = process.heard(auction, about.key, news)
    if step.auction.is_ripe:
        step = await _decide(step.auction, work)
    if step.auction != auction:
        await work.save(step.auction)
    return Outcome(step.answer, step.asks, step.facts)


async def booking_ended(about: Context, _: BookingEnded, work: MatchingWork) -> Outcome:
    """Also where the booking ends before its request for a driver gets here: then that finds a closed auction."""
    auction = await work.auction(about.conversation)
    if auction is None:
        # The insert waits for a request that is opening the auction right now; the one that lost looks again.
        if await work.open_auction(process.refused(about.conversation).auction):
            return Outcome()
        auction = await work.auction(about.conversation)
    if auction is None:
        raise UnknownAuction(f"the auction of booking {about.conversation} is there and is not")
    await work.free(about.conversation)
    step = process.abandoned(auction)
    await work.save(step.auction)
    return Outcome(step.answer, step.asks, step.facts)


async def _decide(auction: Auction, work: MatchingWork) -> Step:
    """The best offer whose driver's slot can be had."""
    lost: list[Offer] = []
    for offer in auction.ranked:
        if await work.assign(auction.booking_id, offer):
            return process.decided(auction, offer, tuple(lost))
        lost.append(offer)
    return process.decided(auction, None, tuple(lost))
