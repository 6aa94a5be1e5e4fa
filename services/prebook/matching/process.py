"""Ask every fleet, gather their offers, answer with the best.

Pure: whether the slot of an offer's driver can be had is found out by the handler and handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered, FleetReply
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.flows import ASK_FLEET, OFFER_SETTLED, Event, Request
from prebook.matching.domain.auction import Auction, Offer

BOOKING_HAS_ENDED = "the booking has ended"
NO_DRIVER_OFFERED = "no fleet has a driver"
OFFERS_EXPIRED = "the fleets' offers have run out"
MAX_AUCTION_AGE = timedelta(seconds=90)
"""How old an auction may be when it is decided. A fleet keeps an offered driver for two minutes after its offer, which
is later than the auction's opening: what is chosen in this time is still kept when the fleet hears of it."""
ALL_DRIVERS_TAKEN = "every driver offered was taken meanwhile"


@dataclass(frozen=True)
class AuctionTransition:
    """The next auction, and what the handler is to return."""

    auction: Auction
    reply: DriverReply | None = None
    requests: tuple[Request, ...] = field(default=())
    events: tuple[Event, ...] = field(default=())


def start(booking_id: str, request: FindDriver, fleets: Sequence[str]) -> AuctionTransition:
    auction = Auction(booking_id=booking_id, fleets_asked=len(fleets), pending_fleets=frozenset(fleets))
    return AuctionTransition(auction, requests=tuple(_fleet_request(fleet, request) for fleet in fleets))


def refuse(booking_id: str) -> AuctionTransition:
    """The booking is over before it began here: a closed auction stays, for a request that comes later."""
    auction = Auction(booking_id=booking_id, fleets_asked=0, pending_fleets=frozenset(), closed=True)
    return AuctionTransition(auction, reply=NoDriverFound(fleets_asked=0, reason=BOOKING_HAS_ENDED))


def apply_fleet_reply(auction: Auction, fleet: str, reply: FleetReply | Unavailable) -> AuctionTransition:
    """One fleet has spoken, or will not, and has one say. A closed auction only counts and answers."""
    if fleet not in auction.pending_fleets:
        return AuctionTransition(auction)
    offer = _offer_of(reply)
    if not auction.closed:
        return AuctionTransition(auction.with_reply(fleet, offer))
    late = (_settled_event(auction, offer, OfferVerdict.LATE),) if offer else ()
    return AuctionTransition(auction.with_late_reply(fleet, offer), events=late)


def decide(auction: Auction, winner: Offer | None) -> AuctionTransition:
    """``winner`` has the driver's slot, and every other offer goes back.

    None: the drivers of all offers were given away meanwhile. Those offers go back, and while fleets are awaited
    the auction goes on.
    """
    facts = tuple(
        _settled_event(auction, o, OfferVerdict.ACCEPTED if o == winner else OfferVerdict.DECLINED)
        for o in auction.ranked_offers
    )
    if winner is not None:
        answer = DriverMatched(fleet=winner.fleet, driver=winner.driver, minutes_away=winner.minutes_away)
        return AuctionTransition(auction.decided(winner), answer, events=facts)
    if auction.pending_fleets:
        return AuctionTransition(auction.without_offers(), events=facts)
    reason = ALL_DRIVERS_TAKEN if auction.lost_offers + len(auction.offers) else NO_DRIVER_OFFERED
    return AuctionTransition(
        auction.decided(None), NoDriverFound(fleets_asked=auction.fleets_asked, reason=reason), events=facts
    )


def expire(auction: Auction) -> AuctionTransition:
    """It has taken too long: nobody is chosen, and the fleets are told so."""
    facts = tuple(_settled_event(auction, offer, OfferVerdict.LATE) for offer in auction.offers)
    return AuctionTransition(
        auction.decided(None), NoDriverFound(fleets_asked=auction.fleets_asked, reason=OFFERS_EXPIRED), events=facts
    )


def cancel(auction: Auction) -> AuctionTransition:
    """The booking has ended without a ride: every offer goes back, and whoever still waits is answered."""
    if auction.closed:
        released = (_settled_event(auction, auction.winner, OfferVerdict.RELEASED),) if auction.winner else ()
        return AuctionTransition(auction.decided(None), events=released)
    facts = tuple(_settled_event(auction, offer, OfferVerdict.DECLINED) for offer in auction.offers)
    return AuctionTransition(
        auction.decided(None), NoDriverFound(fleets_asked=auction.fleets_asked, reason=BOOKING_HAS_ENDED), events=facts
    )


def _fleet_request(fleet: str, request: FindDriver) -> Request:
    question = AskFleet(
        fleet=fleet,
        pickup=request.pickup,
        pickup_at=request.pickup_at,
        vehicle_class=request.vehicle_class,
        passengers=request.passengers,
    )
    return ASK_FLEET.new_request(question, key=fleet)


def _offer_of(reply: FleetReply | Unavailable) -> Offer | None:
    match reply:
        case FleetOffered(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes):
            return Offer(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes)
        case FleetDeclined() | Unavailable():
            return None


def _settled_event(auction: Auction, offer: Offer, verdict: OfferVerdict) -> Event:
    body = OfferSettled(booking_id=auction.booking_id, fleet=offer.fleet, driver=offer.driver, verdict=verdict)
    return OFFER_SETTLED.new_event(body, key=f"{offer.fleet}.{verdict}")
