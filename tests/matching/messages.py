"""Sample messages for the tests of matching."""

from datetime import UTC, datetime

from prebook.contracts.events import BookingEnded, BookingEnding, OfferSettled, OfferVerdict
from prebook.contracts.fleets import FleetOffered
from prebook.contracts.matching import DriverMatched, FindDriver
from prebook.contracts.ride import Place, Stop, VehicleClass
from prebook.matching.domain.auction import AuctionPolicy
from prebook.matching.handlers import AuctionHandlers
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.patterns.scatter_gather import CompletionPolicy

FLEETS = ("ada", "borealis", "cargo")
POLICY = AuctionPolicy(fleets=FLEETS, completion=CompletionPolicy(enough=2, deadline_s=5.0))
AUCTIONS = AuctionHandlers(POLICY)
find_driver = AUCTIONS.find_driver
handle_fleet_reply = AUCTIONS.handle_fleet_reply
NOW = datetime(2027, 3, 1, 7, 0, tzinfo=UTC)
SLOT = datetime(2027, 3, 1, 8, 15, tzinfo=UTC)
RIDE = FindDriver(
    pickup=Stop(place=Place(lat=52.5, lon=13.4)),
    pickup_at=datetime(2027, 3, 1, 8, 20, tzinfo=UTC),
    ride_s=300,
    vehicle_class=VehicleClass.STANDARD,
    passengers=2,
)


def handler_context(booking_id: str, key: str = "", message_id: str = "m") -> HandlerContext:
    return HandlerContext(booking_id, message_id, {}, NOW, key)


def offer(fleet: str, minutes: int, driver: str | None = None) -> FleetOffered:
    return FleetOffered(fleet=fleet, driver=driver or f"{fleet}-0001", slot=SLOT, minutes_away=minutes)


def matched(fleet: str, minutes: int, replied: int) -> DriverMatched:
    """The match of the sample offer, after so many fleets have replied."""
    return DriverMatched(
        fleet=fleet,
        driver=f"{fleet}-0001",
        minutes_away=minutes,
        fleets_asked=len(FLEETS),
        fleets_replied=replied,
    )


def booking_ended(booking_id: str) -> BookingEnded:
    return BookingEnded(booking_id=booking_id, ending=BookingEnding.CANCELLED, reason="the rider cancelled")


def verdicts(result: HandlerResult) -> dict[str, OfferVerdict]:
    """Verdict on the offer of each fleet in this result."""
    bodies = [event.body for event in result.events]
    return {body.fleet: body.verdict for body in bodies if isinstance(body, OfferSettled)}
