"""Composition root of the notification service: handler table and API."""

from typing import Any

from prebook.flows import NOTIFICATION, NOTIFY_RIDER
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.notification.api import internal_routes
from prebook.notification.handlers import notify_rider
from prebook.notification.profile_api import profile_routes
from prebook.notification.retention import PURGES
from prebook.notification.sql import NotificationSql
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def handlers(_: ServiceSettings) -> Handlers[NotificationSql]:
    """Handler table of notification."""
    return Handlers(on_request={NOTIFY_RIDER: HandlerSpec(notify_rider)})


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """HTTP API of the delivery log and of riders' profiles."""
    return ServiceExtensions(internal_routes=[*internal_routes(context), *profile_routes(context)])


SERVICE = Service(
    name=NOTIFICATION, handlers=handlers, unit_of_work=NotificationSql, extensions=extensions, purges=PURGES
)
