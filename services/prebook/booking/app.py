"""Composition root of the booking service: handler table, API and background loops."""

from typing import Any

from prebook.booking.api import internal_routes, routes
from prebook.booking.handlers import (
    callback_sender,
    handle_driver_reply,
    handle_fare_reply,
    handle_notification_reply,
    handle_report_due,
)
from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.load_shedding.rate_limiter import RiderRateLimiter
from prebook.booking.load_shedding.sampler import load_sampler
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.booking.retention import PURGES
from prebook.booking.sql.work import BookingSql
from prebook.booking.use_cases.book import BookRide, CreateBooking, create_booking
from prebook.booking.use_cases.cancel import CancelBooking, cancel_booking
from prebook.booking.use_cases.sweep import SWEEP_INTERVAL_S, Sweeper
from prebook.flows import FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE, REPORT_DUE
from prebook.http.rider_callbacks import RiderCallbacks
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.runtime.loops import run_every
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[BookingSql]:
    """Handler table of booking: commands, replies and events."""
    callbacks = RiderCallbacks(settings.rider_callback_hosts, settings.rider_callback_secrets)
    return Handlers(
        on_command={
            CreateBooking: HandlerSpec(create_booking(CampaignTokens(settings))),
            CancelBooking: HandlerSpec(cancel_booking),
        },
        on_reply={
            QUOTE_FARE: HandlerSpec(handle_fare_reply),
            FIND_DRIVER: HandlerSpec(handle_driver_reply),
            NOTIFY_RIDER: HandlerSpec(handle_notification_reply),
        },
        on_event={REPORT_DUE: HandlerSpec(handle_report_due, pre_transaction=callback_sender(callbacks.send))},
    )


def book_ride(context: ServiceContext[Any], shedder: LoadShedder) -> BookRide:
    """Use case BookRide, with the rate limit per rider from the settings."""
    settings = context.settings
    return BookRide(context, shedder, RiderRateLimiter(per_s=settings.rider_rate_per_s, burst=settings.rider_burst))


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """Rider-facing API behind load shedding, the ledger, and the loops for the load and for stranded bookings."""
    sweeper = Sweeper(context)
    shedder = LoadShedder(context.settings, context.policies, context.channels, context.broker_blocked_s)
    return ServiceExtensions(
        routes=routes(context, book_ride(context, shedder)),
        internal_routes=internal_routes(context),
        loops={
            "load_sampler": load_sampler(shedder, context.units.background, context.settings),
            "sweeper": lambda: run_every(SWEEP_INTERVAL_S, sweeper.sweep),
        },
    )


SERVICE = Service(name="booking", handlers=handlers, unit_of_work=BookingSql, extensions=extensions, purges=PURGES)
