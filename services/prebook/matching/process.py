"""Request offers from every fleet, gather them, reply with the best one.

Pure: the handler finds out whether the slot of an offered driver is free, and passes the result in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.contracts.distance import whole_minutes
from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, DeclineCause, FleetDeclined, FleetOffered, FleetReply
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.flows import ASK_FLEET, OFFER_SETTLED, Event, Request
from prebook.matching.domain.auction import Auction, Offer
from prebook.patterns.scatter_gather import Completion, ReplyVerdict, verdict_on

BOOKING_HAS_ENDED = "the booking has ended"
NO_DRIVER_OFFERED = "no fleet has a driver"
OFFERS_EXPIRED = "the fleets' offers have run out"
MAX_AUCTION_AGE = timedelta(minutes=8)
"""Maximum age of an auction at its decision: longer than the deadline of the fleets' replies, since an auction waits
for fleets that are away. A fleet reserves an offered driver for ten minutes from its offer, so the reservation of an
offer accepted within this age is still valid when the fleet receives the verdict."""
ALL_DRIVERS_TAKEN = "every driver offered has been taken"


@dataclass(frozen=True)
class AuctionTransition:
    """The next auction, with the reply, requests and events that the handler returns."""

    auction: Auction
    reply: DriverReply | None = None
    requests: tuple[Request, ...] = field(default=())
    events: tuple[Event, ...] = field(default=())


def start(booking_id: str, request: FindDriver, fleets: Sequence[str]) -> AuctionTransition:
    """Open an auction with one request per fleet."""
    auction = Auction(booking_id=booking_id, fleets_asked=len(fleets), pending_fleets=frozenset(fleets))
    return AuctionTransition(auction, requests=tuple(_fleet_request(fleet, request) for fleet in fleets))


def refuse(booking_id: str) -> AuctionTransition:
    """Close the auction of a booking that has ended already, and refuse the request for a driver.

    The closed auction is stored, so that a request that arrives later is refused too.
    """
    auction = Auction(booking_id=booking_id, fleets_asked=0, pending_fleets=frozenset(), closed=True)
    return AuctionTransition(auction, reply=NoDriverFound(fleets_asked=0, reason=BOOKING_HAS_ENDED))


def apply_fleet_reply(auction: Auction, fleet: str, reply: FleetReply | Unavailable) -> AuctionTransition:
    """Add a fleet's first reply; later ones are only counted. A closed auction counts a late offer and declines it.

    The request of a fleet that has not answered is withdrawn: it may have reserved a driver, or still do so.
    """
    is_pending = fleet in auction.pending_fleets
    if isinstance(reply, Unavailable):
        if not is_pending:
            return AuctionTransition(auction)
        without_reply = auction.with_reply(fleet, None, ReplyVerdict.MISSING)
        return AuctionTransition(without_reply, events=(_withdrawn_event(auction, fleet),))
    offer = _offer_of(reply)
    verdict = _verdict_on(auction, reply, is_pending=is_pending)
    late = (_settled_event(auction, offer, OfferVerdict.LATE),) if offer and verdict is ReplyVerdict.LATE else ()
    return AuctionTransition(auction.with_reply(fleet, offer, verdict), events=late)


def decide(auction: Auction, winner: Offer | None, completed_by: Completion) -> AuctionTransition:
    """Close the auction with its winner, and decline every other offer.

    ``winner`` is None if the drivers of all offers have been assigned to other bookings. Those offers are declined,
    and the auction stays open while replies are pending.
    """
    events = tuple(
        _settled_event(auction, o, OfferVerdict.ACCEPTED if o == winner else OfferVerdict.DECLINED)
        for o in auction.offers
    )
    if winner is not None:
        reply = DriverMatched(
            fleet=winner.fleet,
            driver=winner.driver,
            minutes_away=winner.minutes_away,
            fleets_asked=auction.fleets_asked,
            fleets_replied=auction.fleets_replied,
        )
        return AuctionTransition(auction.decided(winner, completed_by), reply, events=events)
    if auction.pending_fleets:
        return AuctionTransition(auction.without_offers(), events=events)
    reason = ALL_DRIVERS_TAKEN if auction.lost_offers + len(auction.offers) else NO_DRIVER_OFFERED
    return AuctionTransition(auction.decided(None, completed_by), _no_driver(auction, reason), events=events)


def expire(auction: Auction) -> AuctionTransition:
    """Close an auction older than MAX_AUCTION_AGE without a winner, and send every fleet the verdict LATE."""
    events = tuple(_settled_event(auction, offer, OfferVerdict.LATE) for offer in auction.offers)
    return AuctionTransition(auction.decided(None), _no_driver(auction, OFFERS_EXPIRED), events=events)


def cancel(auction: Auction) -> AuctionTransition:
    """Close the auction of an ended booking: release or decline every offer, and reply if the request is pending."""
    if auction.closed:
        released = (_settled_event(auction, auction.winner, OfferVerdict.RELEASED),) if auction.winner else ()
        return AuctionTransition(auction.decided(None), events=released)
    events = tuple(_settled_event(auction, offer, OfferVerdict.DECLINED) for offer in auction.offers)
    return AuctionTransition(auction.decided(None), _no_driver(auction, BOOKING_HAS_ENDED), events=events)


def _no_driver(auction: Auction, reason: str) -> NoDriverFound:
    return NoDriverFound(fleets_asked=auction.fleets_asked, reason=reason, fleets_replied=auction.fleets_replied)


def _verdict_on(auction: Auction, reply: FleetReply, *, is_pending: bool) -> ReplyVerdict:
    """Verdict on a reply. A fleet whose partner did not reply in time counts as missing."""
    cause = reply.cause if isinstance(reply, FleetDeclined) else None
    if is_pending and cause is DeclineCause.NO_REPLY:
        return ReplyVerdict.MISSING
    is_readable = cause is not DeclineCause.UNREADABLE
    return verdict_on(is_pending=is_pending, is_open=not auction.closed, is_readable=is_readable)


def _fleet_request(fleet: str, request: FindDriver) -> Request:
    fleet_request = AskFleet(
        fleet=fleet,
        pickup=request.pickup.place,
        pickup_at=request.pickup_at,
        ride_minutes=whole_minutes(request.ride_s),
        vehicle_class=request.vehicle_class,
        passengers=request.passengers,
    )
    return ASK_FLEET.new_request(fleet_request, key=fleet)


def _offer_of(reply: FleetReply | Unavailable) -> Offer | None:
    match reply:
        case FleetOffered(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes):
            return Offer(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes)
        case FleetDeclined() | Unavailable():
            return None


def _withdrawn_event(auction: Auction, fleet: str) -> Event:
    body = OfferSettled(booking_id=auction.booking_id, fleet=fleet, driver="", verdict=OfferVerdict.WITHDRAWN)
    return OFFER_SETTLED.new_event(body, key=f"{fleet}.{OfferVerdict.WITHDRAWN}")


def _settled_event(auction: Auction, offer: Offer, verdict: OfferVerdict) -> Event:
    body = OfferSettled(booking_id=auction.booking_id, fleet=offer.fleet, driver=offer.driver, verdict=verdict)
    return OFFER_SETTLED.new_event(body, key=f"{offer.fleet}.{verdict}")
