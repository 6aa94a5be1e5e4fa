"""Crash at one message: the process ends whenever it receives the message that its environment names.

Only the environment arms a process (PREBOOK_CRASH_MESSAGE_ID), so that no message can make it crash. The lab sets it
through the supervisor (``prebook fault inject crashing_poison``).
"""

import os

import structlog

from prebook.messaging import crash_points
from prebook.messaging.crash_points import CrashPoint
from prebook.runtime.crash_files import EXIT_CRASHED

log = structlog.get_logger()


def arm_crash_message(message_id: str) -> None:
    """Make this process crash whenever it receives the message ``message_id``, before anything is done for it."""

    def crash_if_received(point: CrashPoint, received_id: str) -> None:
        if point is CrashPoint.RECEIVED and received_id == message_id:
            os._exit(EXIT_CRASHED)

    log.warning("armed to crash at a message", message_id=message_id)
    crash_points.arm(crash_if_received)
