"""Assembles booking: which handler takes what."""

from typing import Any

from prebook.booking.api import routes
from prebook.booking.handlers import (
    callback_sender,
    handle_driver_reply,
    handle_fare_reply,
    handle_notification_reply,
    handle_report_due,
)
from prebook.booking.load_shedding.sampler import build_sampler
from prebook.booking.retention import PURGES
from prebook.booking.sql.work import BookingSql
from prebook.flows import FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE, REPORT_DUE
from prebook.http.rider_callbacks import RiderCallbacks
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.runtime.service import OutboundPorts, Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[BookingSql]:
    callbacks = RiderCallbacks(settings.rider_callback_hosts, settings.rider_callback_secrets)
    return Handlers(
        on_reply={
            QUOTE_FARE: HandlerSpec(handle_fare_reply),
            FIND_DRIVER: HandlerSpec(handle_driver_reply),
            NOTIFY_RIDER: HandlerSpec(handle_notification_reply),
        },
        on_event={REPORT_DUE: HandlerSpec(handle_report_due, pre_transaction=callback_sender(callbacks.send))},
    )


def extensions(context: ServiceContext[Any], ports: OutboundPorts) -> ServiceExtensions:
    return ServiceExtensions(loops={"load_sampler": build_sampler(context, ports)})


SERVICE = Service(
    name="booking", handlers=handlers, unit_of_work=BookingSql, api=routes, extensions=extensions, purges=PURGES
)
