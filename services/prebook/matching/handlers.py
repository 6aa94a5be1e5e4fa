"""Matching's handlers: load, decide, save."""

from dataclasses import replace
from datetime import timedelta

from prebook.contracts.events import BookingEnded
from prebook.contracts.fleets import FleetReply
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Unavailable
from prebook.matching import process
from prebook.matching.domain.auction import Auction, AuctionPolicy
from prebook.matching.due_auctions import DUE_AUCTIONS, DueAuctions
from prebook.matching.metrics import count_fleet_reply
from prebook.matching.process import MAX_AUCTION_AGE, AuctionTransition
from prebook.matching.store import MatchingWork
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.patterns.scatter_gather import Completion


class UnknownAuction(PermanentFailure):
    """A fleet's reply refers to an auction that was never opened, or whose row was deleted."""

    cause = "unknown_auction"


class AuctionHandlers:
    """Handlers of auctions under a policy."""

    def __init__(self, policy: AuctionPolicy, due_auctions: DueAuctions = DUE_AUCTIONS) -> None:
        self._policy = policy
        self._due_auctions = due_auctions

    async def find_driver(self, context: HandlerContext, request: FindDriver, work: MatchingWork) -> HandlerResult:
        """Open an auction and send a request to every fleet; refuse if the booking has an auction or has ended."""
        transition = process.start(context.conversation_id, request, self._policy.fleets)
        if not await work.open_auction(transition.auction):
            transition = process.refuse(context.conversation_id)
        return HandlerResult(transition.reply, transition.requests, transition.events)

    async def handle_fleet_reply(
        self, context: HandlerContext, reply: FleetReply | Unavailable, work: MatchingWork
    ) -> HandlerResult:
        """Add the fleet's reply to the auction, and decide the auction once it is complete.

        The synthetic reply of ``deadlines`` comes from no fleet: it can only complete the auction.
        """
        auction, age = await _lock_auction(context, work)
        transition = process.apply_fleet_reply(auction, context.request_key, reply)
        withdrawn_or_late = transition.events
        if completed_by := transition.auction.completion(self._policy.completion, age):
            transition = (
                await self._decide(transition.auction, completed_by, work)
                if age < MAX_AUCTION_AGE
                else process.expire(transition.auction)
            )
            transition = replace(transition, events=(*withdrawn_or_late, *transition.events))
        if transition.auction != auction:
            await self._save(transition.auction, age, work)
        count_fleet_reply(auction, transition.auction)
        return HandlerResult(transition.reply, transition.requests, transition.events)

    async def _decide(self, auction: Auction, completed_by: Completion, work: MatchingWork) -> AuctionTransition:
        """Accept the best offer whose driver's slot is still free."""
        for offer in auction.ranked_offers(self._policy.choice):
            if await work.assign(auction.booking_id, offer):
                return process.decide(auction, offer, completed_by)
        return process.decide(auction, None, completed_by)

    async def _save(self, auction: Auction, age: timedelta, work: MatchingWork) -> None:
        due_after = self._due_after(auction)
        if due_after is None:
            self._due_auctions.discard(auction.booking_id)
        else:
            self._due_auctions.add(auction.booking_id, (due_after - age).total_seconds())
        await work.save(auction, due_after)

    def _due_after(self, auction: Auction) -> timedelta | None:
        """Age at which the auction stops waiting for further offers; None if it has no offer, or is closed."""
        is_waiting = auction.offers and not auction.closed
        return timedelta(seconds=self._policy.completion.deadline_s) if is_waiting else None


async def handle_booking_ended(context: HandlerContext, _: BookingEnded, work: MatchingWork) -> HandlerResult:
    """Cancel the auction and release its offers.

    The event may overtake the request for a driver: it then leaves a closed auction, which refuses that request.
    """
    # Insert first: an insert waits for a concurrent request that is opening the auction, a SELECT would miss it.
    if await work.open_auction(process.refuse(context.conversation_id).auction):
        return HandlerResult()
    auction, _age = await _lock_auction(context, work)
    transition = process.cancel(auction)
    await work.unassign(context.conversation_id)
    await work.save(transition.auction, None)
    return HandlerResult(transition.reply, transition.requests, transition.events)


async def _lock_auction(context: HandlerContext, work: MatchingWork) -> tuple[Auction, timedelta]:
    found = await work.lock_auction(context.conversation_id)
    if found is None:
        raise UnknownAuction(
            f"booking {context.conversation_id} has no auction here: "
            "check whether matching's tables were restored or emptied"
        )
    return found
