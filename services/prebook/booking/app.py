"""Composition root of the booking service: handler table, API and background loops."""

from typing import Any

from prebook.booking.api import internal_routes, routes
from prebook.booking.conversation_api import conversation_list_route
from prebook.booking.external_edges import EXTERNAL_EDGES
from prebook.booking.handlers import (
    booking_report,
    callback_sender,
    handle_driver_reply,
    handle_fare_reply,
    handle_notification_reply,
    handle_report_due,
    trip_report,
)
from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.load_shedding.rate_limiter import RiderRateLimiter
from prebook.booking.load_shedding.sampler import load_sampler
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.booking.retention import PURGES
from prebook.booking.route_api import route_routes
from prebook.booking.sql.work import BookingSql
from prebook.booking.switch_api import switch_routes
from prebook.booking.trip_api import trip_routes
from prebook.booking.trip_handlers import handle_leg_settled
from prebook.booking.use_cases.admission import Admission
from prebook.booking.use_cases.book import BookRide, CreateBooking, create_booking
from prebook.booking.use_cases.book_trip import BookTrip, CreateTrip, create_trip
from prebook.booking.use_cases.cancel import CancelBooking, cancel_booking
from prebook.booking.use_cases.cancel_trip import CancelTrip, cancel_trip
from prebook.booking.use_cases.plan_route import PlanRoute, plan_route
from prebook.booking.use_cases.response_times import ResponseTimes
from prebook.booking.use_cases.sweep import SWEEP_INTERVAL_S, Sweeper
from prebook.booking.use_cases.switches import REFRESH_INTERVAL_S, Switches
from prebook.booking.use_cases.trip_deadlines import (
    DEADLINE_SCAN_INTERVAL_S,
    ExpireTrip,
    TripDeadlines,
    expire_trip,
)
from prebook.flows import BOOKING, FIND_DRIVER, LEG_SETTLED, NOTIFY_RIDER, QUOTE_FARE, REPORT_DUE, TRIP_REPORT_DUE
from prebook.http.rider_callbacks import RiderCallbacks
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.messaging.policy import default_plan
from prebook.runtime.loops import run_every
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[BookingSql]:
    """Handler table of booking: commands, replies and events."""
    callbacks = RiderCallbacks(settings.rider_callback_hosts, lambda: settings.rider_callback_secrets)
    return Handlers(
        on_command={
            CreateBooking: HandlerSpec(create_booking(CampaignTokens(settings))),
            CancelBooking: HandlerSpec(cancel_booking),
            PlanRoute: HandlerSpec(plan_route),
            CreateTrip: HandlerSpec(create_trip(CampaignTokens(settings))),
            CancelTrip: HandlerSpec(cancel_trip),
            ExpireTrip: HandlerSpec(expire_trip),
        },
        on_reply={
            QUOTE_FARE: HandlerSpec(handle_fare_reply),
            FIND_DRIVER: HandlerSpec(handle_driver_reply),
            NOTIFY_RIDER: HandlerSpec(handle_notification_reply),
        },
        on_event={
            LEG_SETTLED: HandlerSpec(handle_leg_settled, shares_transaction=False),
            REPORT_DUE: HandlerSpec(handle_report_due, pre_transaction=callback_sender(callbacks.send, booking_report)),
            TRIP_REPORT_DUE: HandlerSpec(
                handle_report_due, pre_transaction=callback_sender(callbacks.send, trip_report)
            ),
        },
    )


def admission(context: ServiceContext[Any], shedder: LoadShedder) -> Admission:
    """Admission control, with the rate limit per rider from the settings."""
    settings = context.settings
    rate_limiter = RiderRateLimiter(per_s=settings.rider_rate_per_s, burst=settings.rider_burst)
    return Admission(context.channels, shedder, rate_limiter)


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """Rider-facing API behind load shedding, ledger and switches; loops for load, deadlines and stranded bookings."""
    sweeper = Sweeper(context)
    settings = context.settings
    switches = Switches(context.units, default_plan(context.policies), back_pressure=settings.back_pressure == "on")
    shedder = LoadShedder(
        settings,
        context.policies,
        context.channels,
        context.broker_blocked_s,
        is_enabled=lambda: switches.back_pressure,
    )
    admitting = admission(context, shedder)
    deadlines = TripDeadlines(context)
    response_times = ResponseTimes()
    return ServiceExtensions(
        routes=[
            *routes(context, BookRide(context, admitting, response_times, switches)),
            *trip_routes(context, BookTrip(context, admitting, switches)),
            *route_routes(context),
        ],
        internal_routes=[
            *internal_routes(context, response_times),
            *switch_routes(switches),
            conversation_list_route(context),
        ],
        loops={
            "load_sampler": load_sampler(shedder, context.units.background, settings),
            "switches": lambda: run_every(REFRESH_INTERVAL_S, switches.refresh),
            "sweeper": lambda: run_every(SWEEP_INTERVAL_S, sweeper.sweep),
            "trip_deadlines": lambda: run_every(DEADLINE_SCAN_INTERVAL_S, deadlines.settle_overdue),
        },
    )


SERVICE = Service(
    name=BOOKING,
    handlers=handlers,
    unit_of_work=BookingSql,
    extensions=extensions,
    purges=PURGES,
    external_edges=EXTERNAL_EDGES,
)
