"""Composition root of the matching service: handler table."""

from prebook.flows import ASK_FLEET, BOOKING_ENDED, FIND_DRIVER
from prebook.matching.handlers import AuctionHandlers, handle_booking_ended
from prebook.matching.sql import MatchingSql
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[MatchingSql]:
    """Handler table of matching."""
    auctions = AuctionHandlers(settings.fleets)
    return Handlers(
        on_request={FIND_DRIVER: HandlerSpec(auctions.find_driver)},
        on_reply={ASK_FLEET: HandlerSpec(auctions.handle_fleet_reply)},
        on_event={BOOKING_ENDED: HandlerSpec(handle_booking_ended)},
    )


SERVICE = Service(name="matching", handlers=handlers, unit_of_work=MatchingSql)
