"""Assembles notification: which handler takes what."""

from prebook.flows import NOTIFY_RIDER
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.notification.api import routes
from prebook.notification.handlers import notify_rider
from prebook.notification.retention import PURGES
from prebook.notification.sql import NotificationSql
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings


def handlers(_: ServiceSettings) -> Handlers[NotificationSql]:
    return Handlers(on_request={NOTIFY_RIDER: HandlerSpec(notify_rider)})


SERVICE = Service(name="notification", handlers=handlers, unit_of_work=NotificationSql, api=routes, purges=PURGES)
