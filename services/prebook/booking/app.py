"""Assembles booking: which handler takes what."""

from typing import Any

from prebook.booking.api import routes
from prebook.booking.handlers import driver_known, fare_known, reported, reporting, rider_told
from prebook.booking.load_shedding.sampler import sampling
from prebook.booking.retention import PURGES
from prebook.booking.sql.work import BookingSql
from prebook.flows import FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE, REPORT_DUE
from prebook.http.rider_callbacks import RiderCallbacks
from prebook.messaging.handlers import Handlers, Step
from prebook.runtime.service import Beside, Outside, Running, Service
from prebook.runtime.settings import Settings


def handlers(settings: Settings) -> Handlers[BookingSql]:
    callbacks = RiderCallbacks(settings.callback_hosts, settings.rider_secrets)
    return Handlers(
        resumes={
            QUOTE_FARE: Step(fare_known),
            FIND_DRIVER: Step(driver_known),
            NOTIFY_RIDER: Step(rider_told),
        },
        hears={REPORT_DUE: Step(reported, consult=reporting(callbacks.send))},
    )


def beside(running: Running[Any], outside: Outside) -> Beside:
    return Beside(loops={"pressure": sampling(running, outside)})


SERVICE = Service(name="booking", handlers=handlers, work=BookingSql, api=routes, beside=beside, purges=PURGES)
