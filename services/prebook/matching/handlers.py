"""Matching's handlers: load, decide, save."""

from datetime import timedelta

from prebook.contracts.events import BookingEnded
from prebook.contracts.fleets import FleetAnswer
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Unavailable
from prebook.matching import process
from prebook.matching.domain.auction import Auction
from prebook.matching.process import OFFERS_LAST, Step
from prebook.matching.store import MatchingWork
from prebook.messaging.errors import Permanent
from prebook.messaging.handlers import Context, Outcome

FLEETS = ("ada", "borealis", "cargo")
"""Whom every auction asks."""


class UnknownAuction(Permanent):
    """A fleet's answer to an auction that was never opened, or a row that vanished under its lock."""

    cause = "unknown_auction"


async def find_driver(about: Context, ride: FindDriver, work: MatchingWork) -> Outcome:
    step = process.opened(about.conversation, ride, FLEETS)
    if not await work.open_auction(step.auction):
        step = process.refused(about.conversation)
    return Outcome(step.answer, step.asks, step.facts)


async def fleet_heard(about: Context, news: FleetAnswer | Unavailable, work: MatchingWork) -> Outcome:
    auction, age = await _auction(about, work)
    step = process.heard(auction, about.key, news)
    if step.auction.is_ripe:
        step = await _decide(step.auction, work) if age < OFFERS_LAST else process.ran_out(step.auction)
    if step.auction != auction:
        await work.save(step.auction)
    return Outcome(step.answer, step.asks, step.facts)


async def booking_ended(about: Context, _: BookingEnded, work: MatchingWork) -> Outcome:
    """Also where the booking ends before its request for a driver gets here: then that finds a closed auction."""
    # Insert first: it waits for a request that is opening the auction right now, a look would miss it.
    if await work.open_auction(process.refused(about.conversation).auction):
        return Outcome()
    auction, _age = await _auction(about, work)
    step = process.abandoned(auction)
    await work.free(about.conversation)
    await work.save(step.auction)
    return Outcome(step.answer, step.asks, step.facts)


async def _auction(about: Context, work: MatchingWork) -> tuple[Auction, timedelta]:
    found = await work.auction(about.conversation)
    if found is None:
        raise UnknownAuction(
            f"booking {about.conversation} has no auction here: look whether matching's tables were restored or emptied"
        )
    return found


async def _decide(auction: Auction, work: MatchingWork) -> Step:
    """The best offer whose driver's slot can be had."""
    for offer in auction.ranked:
        if await work.assign(auction.booking_id, offer):
            return process.decided(auction, offer)
    return process.decided(auction, None)
