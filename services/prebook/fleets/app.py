"""Composition root of the fleets service: handler table."""

from prebook.fleets.handlers import handle_offer_settled, offer_driver, partner_caller
from prebook.fleets.partners.registry import partners
from prebook.fleets.sql import FleetsSql
from prebook.flows import ASK_FLEET, OFFER_SETTLED
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[FleetsSql]:
    """Handler table of fleets."""
    return Handlers(
        on_request={ASK_FLEET: HandlerSpec(offer_driver, pre_transaction=partner_caller(partners(settings.seed)))},
        on_event={OFFER_SETTLED: HandlerSpec(handle_offer_settled)},
    )


SERVICE = Service(name="fleets", handlers=handlers, unit_of_work=FleetsSql)
