"""Notification's handler."""

from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.messaging.outcome import Context, Outcome
from prebook.notification.store import NotificationWork

LONGEST_TEXT = 500


async def notify_rider(about: Context, request: NotifyRider, work: NotificationWork) -> Outcome:
    """The same notice of the same booking reaches the rider once, however often and under whatever id it is asked for."""
    await work.deliver(about.conversation, request.notice, request.rider_id, request.text[:LONGEST_TEXT])
    return Outcome(RiderNotified(notice=request.notice))
