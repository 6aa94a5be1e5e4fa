"""Assembles pricing: which handler takes what."""

from prebook.flows import BOOKING_ENDED, QUOTE_FARE
from prebook.messaging.handlers import Handlers, Step
from prebook.pricing.handlers import booking_ended, quote_fare
from prebook.pricing.retention import PURGES
from prebook.pricing.sql import PricingSql
from prebook.runtime.service import Service
from prebook.runtime.settings import Settings


def handlers(settings: Settings) -> Handlers[PricingSql]:
    return Handlers(
        serves={QUOTE_FARE: Step(quote_fare(settings.campaign_quota))},
        hears={BOOKING_ENDED: Step(booking_ended)},
    )


SERVICE = Service(name="pricing", handlers=handlers, work=PricingSql, purges=PURGES)
