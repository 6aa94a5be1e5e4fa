"""Composition root of the matching service: handler table, API, and the loop for deadlines of auctions."""

from typing import Any

from prebook.flows import ASK_FLEET, BOOKING_ENDED, FIND_DRIVER, MATCHING
from prebook.matching.api import internal_routes
from prebook.matching.deadlines import SCAN_INTERVAL_S, AuctionDeadlines
from prebook.matching.domain.auction import AuctionPolicy
from prebook.matching.handlers import AuctionHandlers, handle_booking_ended
from prebook.matching.sql import MatchingSql
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.patterns.scatter_gather import Choice, CompletionPolicy
from prebook.runtime.loops import run_every
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def auction_policy(settings: ServiceSettings) -> AuctionPolicy:
    """Policy of auctions by the settings."""
    completion = CompletionPolicy(enough=settings.min_offers, deadline_s=settings.offer_deadline_s)
    return AuctionPolicy(fleets=settings.fleets, completion=completion, choice=Choice(settings.offer_choice))


def handlers(settings: ServiceSettings) -> Handlers[MatchingSql]:
    """Handler table of matching."""
    auctions = AuctionHandlers(auction_policy(settings))
    return Handlers(
        on_request={FIND_DRIVER: HandlerSpec(auctions.find_driver)},
        on_reply={ASK_FLEET: HandlerSpec(auctions.handle_fleet_reply)},
        on_event={BOOKING_ENDED: HandlerSpec(handle_booking_ended)},
    )


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """The ledger of auctions, and the loop that closes overdue ones."""
    deadlines = AuctionDeadlines(context)
    return ServiceExtensions(
        internal_routes=internal_routes(context),
        loops={"auction_deadlines": lambda: run_every(SCAN_INTERVAL_S, deadlines.close_overdue)},
    )


SERVICE = Service(name=MATCHING, handlers=handlers, unit_of_work=MatchingSql, extensions=extensions)
