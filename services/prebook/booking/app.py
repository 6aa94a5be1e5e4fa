"""Assembles booking: which handler takes what."""

from prebook.booking.api import routes
from prebook.booking.handlers import driver_known, fare_known, rider_told
from prebook.booking.sql import BookingSql
from prebook.flows import FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE
from prebook.messaging.outcome import Handlers, Step
from prebook.runtime.serve import Service
from prebook.runtime.settings import Settings


def handlers(_: Settings) -> Handlers[BookingSql]:
    return Handlers(
        resumes={
            QUOTE_FARE: Step(fare_known),
            FIND_DRIVER: Step(driver_known),
            NOTIFY_RIDER: Step(rider_told),
        }
    )


SERVICE = Service(name="booking", handlers=handlers, work=BookingSql, api=routes)
