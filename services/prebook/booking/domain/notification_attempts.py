"""Attempts at a notice to the rider: one request each, until it is delivered or MAX_NOTIFY_ATTEMPTS have failed."""

from dataclasses import dataclass

from prebook.contracts.message import Unavailable
from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.flows import NOTIFY_RIDER, Request

MAX_NOTIFY_ATTEMPTS = 12
"""Attempts at one notice. With their pauses they last six minutes, longer than a crash loop or an outage of minutes."""
MAX_NOTIFY_BACKOFF_S = 60.0
"""Longest pause between two attempts."""
NOTIFICATION_FAILED = "notification_failed"
"""Note in the reason of a booking or trip whose rider could not be notified."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The rider has the notice."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The notice needs another attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The last attempt has failed."""


def attempt_key(notice: str, attempt: int) -> str:
    """Return the request key of an attempt, from 1: ``<notice>``, then ``<notice>.<attempt>``."""
    return notice if attempt == 1 else f"{notice}.{attempt}"


def notify_request(notice: NotifyRider, attempt: int = 1) -> Request:
    """Request an attempt at a notice: the first at once, later ones after 1, 2, 4, ..., 32, 60, 60, ... seconds."""
    delay_s = 0.0 if attempt == 1 else min(MAX_NOTIFY_BACKOFF_S, 2.0 ** (attempt - 2))
    return NOTIFY_RIDER.new_request(notice, key=attempt_key(notice.notice.value, attempt), delay_s=delay_s)


def follow_up(
    reply: RiderNotified | Unavailable, key: str, awaited: str | None
) -> Delivered | NextAttempt | GaveUp | None:
    """Decide what follows from the reply to the request with this key; None if it is not about the ``awaited`` notice.

    ``awaited``: notice that the rider does not have yet; None if there is none.
    """
    notice, _, attempt = key.partition(".")
    if notice != awaited:
        return None
    if isinstance(reply, RiderNotified):
        return Delivered()
    attempts = int(attempt or 1)
    return GaveUp() if attempts >= MAX_NOTIFY_ATTEMPTS else NextAttempt(attempts + 1)
