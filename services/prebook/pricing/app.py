"""Composition root of the pricing service: handler table."""

from prebook.flows import BOOKING_ENDED, PRICING, QUOTE_FARE
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.pricing.enrichment import lookups
from prebook.pricing.handlers import handle_booking_ended, quote_fare
from prebook.pricing.retention import PURGES
from prebook.pricing.sql import PricingSql
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[PricingSql]:
    """Handler table of pricing."""
    return Handlers(
        on_request={QUOTE_FARE: HandlerSpec(quote_fare(settings.campaign_quota))},
        on_event={BOOKING_ENDED: HandlerSpec(handle_booking_ended)},
    )


SERVICE = Service(name=PRICING, handlers=handlers, unit_of_work=PricingSql, purges=PURGES, lookups=lookups)
