"""Assembles fleets: which handler takes what."""

from prebook.fleets.handlers import ask_partner, offer, offer_settled
from prebook.fleets.partners.registry import partners
from prebook.fleets.sql import FleetsSql
from prebook.flows import ASK_FLEET, OFFER_SETTLED
from prebook.messaging.handlers import Handlers, Step
from prebook.runtime.service import Service
from prebook.runtime.settings import Settings


def handlers(settings: Settings) -> Handlers[FleetsSql]:
    return Handlers(
        serves={ASK_FLEET: Step(offer, consult=ask_partner(partners(settings.seed)))},
        hears={OFFER_SETTLED: Step(offer_settled)},
    )


SERVICE = Service(name="fleets", handlers=handlers, work=FleetsSql)
