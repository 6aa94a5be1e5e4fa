"""Assembles notification: which handler takes what."""

from prebook.flows import NOTIFY_RIDER
from prebook.messaging.handlers import Handlers, Step
from prebook.notification.api import routes
from prebook.notification.handlers import notify_rider
from prebook.notification.retention import PURGES
from prebook.notification.sql import NotificationSql
from prebook.runtime.service import Service
from prebook.runtime.settings import Settings


def handlers(_: Settings) -> Handlers[NotificationSql]:
    return Handlers(serves={NOTIFY_RIDER: Step(notify_rider)})


SERVICE = Service(name="notification", handlers=handlers, work=NotificationSql, api=routes, purges=PURGES)
