"""Ask every fleet, gather their offers, answer with the best. Pure: whom an offer's slot still belongs to is handed in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prebook.contracts.facts import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetAnswer, FleetDeclined, FleetOffered
from prebook.contracts.matching import DriverAnswer, DriverMatched, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.flows import ASK_FLEET, OFFER_SETTLED, Ask, Fact
from prebook.matching.domain.auction import Auction, Offer


@dataclass(frozen=True)
class Step:
    auction: Auction
    answer: DriverAnswer | None = None
    asks: tuple[Ask, ...] = field(default=())
    facts: tuple[Fact, ...] = field(default=())


def opened(booking_id: str, ride: FindDriver, fleets: Sequence[str]) -> Step:
    auction = Auction(booking_id=booking_id, asked=len(fleets), awaited=frozenset(fleets))
    return Step(auction, asks=tuple(_asked(fleet, ride) for fleet in fleets))


def refused(booking_id: str, reason: str) -> Step:
    """The booking is over before it began here."""
    auction = Auction(booking_id=booking_id, asked=0, awaited=frozenset(), closed=True)
    return Step(auction, answer=NoDriverFound(asked=0, reason=reason))


def heard(auction: Auction, fleet: str, news: FleetAnswer | Unavailable) -> Step:
    """One fleet has spoken, or will not. A closed auction only counts and answers."""
    offer = _offer(news)
    if not auction.closed:
        return Step(auction.heard(fleet, offer))
    late = (_settled(auction, offer, OfferVerdict.LATE),) if offer else ()
    return Step(auction.heard_late(fleet, offer), facts=late)


def decided(auction: Auction, winner: Offer | None, lost: tuple[Offer, ...]) -> Step:
    """``winner`` has the driver's slot; ``lost`` are better offers whose driver was given away meanwhile."""
    verdicts = [(offer, OfferVerdict.DECLINED) for offer in auction.offers if offer != winner]
    if winner is None:
        remaining = auction.without(lost)
        facts = tuple(_settled(auction, offer, verdict) for offer, verdict in verdicts)
        if remaining.awaited:
            return Step(remaining, facts=facts)
        reason = "no fleet has a driver" if not lost else "every driver offered was taken meanwhile"
        return Step(remaining.decided(None), NoDriverFound(asked=auction.asked, reason=reason), facts=facts)
    answer = DriverMatched(fleet=winner.fleet, driver=winner.driver, minutes_away=winner.minutes_away)
    verdicts.append((winner, OfferVerdict.ACCEPTED))
    return Step(auction.decided(winner), answer, facts=tuple(_settled(auction, o, v) for o, v in verdicts))


def abandoned(auction: Auction) -> Step:
    """The booking has ended without a ride: every offer goes back, and whoever still waits is answered."""
    if auction.closed:
        released = (_settled(auction, auction.winner, OfferVerdict.RELEASED),) if auction.winner else ()
        return Step(auction, facts=released)
    facts = tuple(_settled(auction, offer, OfferVerdict.DECLINED) for offer in auction.offers)
    return Step(auction.decided(None), NoDriverFound(asked=auction.asked, reason="the booking has ended"), facts=facts)


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
