"""Ask every fleet, gather their offers, answer with the best.

Pure: whether the slot of an offer's driver can be had is found out by the handler and handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetAnswer, FleetDeclined, FleetOffered
from prebook.contracts.matching import DriverAnswer, DriverMatched, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.flows import ASK_FLEET, OFFER_SETTLED, Ask, Fact
from prebook.matching.domain.auction import Auction, Offer

ENDED = "the booking has ended"
NOBODY = "no fleet has a driver"
TOO_OLD = "the fleets' offers have run out"
OFFERS_LAST = timedelta(seconds=90)
"""How old an auction may be when it is decided. A fleet keeps an offered driver for two minutes after its offer, which
is later than the auction's opening: what is chosen in this time is still kept when the fleet hears of it."""
TAKEN = "every driver offered was taken meanwhile"


@dataclass(frozen=True)
class Step:
    """The next auction, and what the handler is to return."""

    auction: Auction
    answer: DriverAnswer | None = None
    asks: tuple[Ask, ...] = field(default=())
    facts: tuple[Fact, ...] = field(default=())


def opened(booking_id: str, ride: FindDriver, fleets: Sequence[str]) -> Step:
    auction = Auction(booking_id=booking_id, asked=len(fleets), awaited=frozenset(fleets))
    return Step(auction, asks=tuple(_asked(fleet, ride) for fleet in fleets))


def refused(booking_id: str) -> Step:
    """The booking is over before it began here: a closed auction stays, for a request that comes later."""
    auction = Auction(booking_id=booking_id, asked=0, awaited=frozenset(), closed=True)
    return Step(auction, answer=NoDriverFound(asked=0, reason=ENDED))


def heard(auction: Auction, fleet: str, news: FleetAnswer | Unavailable) -> Step:
    """One fleet has spoken, or will not, and has one say. A closed auction only counts and answers."""
    if fleet not in auction.awaited:
        return Step(auction)
    offer = _offer(news)
    if not auction.closed:
        return Step(auction.heard(fleet, offer))
    late = (_settled(auction, offer, OfferVerdict.LATE),) if offer else ()
    return Step(auction.heard_late(fleet, offer), facts=late)


def decided(auction: Auction, winner: Offer | None) -> Step:
    """``winner`` has the driver's slot, and every other offer goes back.

    None: the drivers of all offers were given away meanwhile. Those offers go back, and while fleets are awaited
    the auction goes on.
    """
    facts = tuple(
        _settled(auction, o, OfferVerdict.ACCEPTED if o == winner else OfferVerdict.DECLINED) for o in auction.ranked
    )
    if winner is not None:
        answer = DriverMatched(fleet=winner.fleet, driver=winner.driver, minutes_away=winner.minutes_away)
        return Step(auction.decided(winner), answer, facts=facts)
    if auction.awaited:
        return Step(auction.without_offers(), facts=facts)
    reason = TAKEN if auction.lost + len(auction.offers) else NOBODY
    return Step(auction.decided(None), NoDriverFound(asked=auction.asked, reason=reason), facts=facts)


def ran_out(auction: Auction) -> Step:
    """It has taken too long: nobody is chosen, and the fleets are told so."""
    facts = tuple(_settled(auction, offer, OfferVerdict.LATE) for offer in auction.offers)
    return Step(auction.decided(None), NoDriverFound(asked=auction.asked, reason=TOO_OLD), facts=facts)


def abandoned(auction: Auction) -> Step:
    """The booking has ended without a ride: every offer goes back, and whoever still waits is answered."""
    if auction.closed:
        released = (_settled(auction, auction.winner, OfferVerdict.RELEASED),) if auction.winner else ()
        return Step(auction.decided(None), facts=released)
    facts = tuple(_settled(auction, offer, OfferVerdict.DECLINED) for offer in auction.offers)
    return Step(auction.decided(None), NoDriverFound(asked=auction.asked, reason=ENDED), facts=facts)


def _asked(fleet: str, ride: FindDriver) -> Ask:
    question = AskFleet(
        fleet=fleet,
        pickup=ride.pickup,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return ASK_FLEET.ask(question, key=fleet)


def _offer(news: FleetAnswer | Unavailable) -> Offer | None:
    match news:
        case FleetOffered(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes):
            return Offer(fleet=fleet, driver=driver, slot=slot, minutes_away=minutes)
        case FleetDeclined() | Unavailable():
            return None


def _settled(auction: Auction, offer: Offer, verdict: OfferVerdict) -> Fact:
    body = OfferSettled(booking_id=auction.booking_id, fleet=offer.fleet, driver=offer.driver, verdict=verdict)
    return OFFER_SETTLED.fact(body, key=f"{offer.fleet}.{verdict}")
