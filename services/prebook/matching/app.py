"""Assembles matching: which handler takes what."""

from prebook.flows import ASK_FLEET, BOOKING_ENDED, FIND_DRIVER
from prebook.matching.handlers import booking_ended, find_driver, fleet_heard
from prebook.matching.sql import MatchingSql
from prebook.messaging.handlers import Handlers, Step
from prebook.runtime.service import Service
from prebook.runtime.settings import Settings


def handlers(_: Settings) -> Handlers[MatchingSql]:
    return Handlers(
        serves={FIND_DRIVER: Step(find_driver)},
        resumes={ASK_FLEET: Step(fleet_heard)},
        hears={BOOKING_ENDED: Step(booking_ended)},
    )


SERVICE = Service(name="matching", handlers=handlers, work=MatchingSql)
