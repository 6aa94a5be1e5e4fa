"""Notification's handler."""

from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.messaging.outcome import Context, Outcome
from prebook.notification.store import NotificationWork

LONGEST_TEXT = 500


async def notify_rider(about: Context, request: NotifyRider, work: NotificationWork) -> Outcome:
    """Tells the rider a notice of a booking once, however often and under whatever message id it is asked for.

    The answer is the same each time: the rider knows. Who and what stays in the log's table and is never printed.
    """
    await work.deliver(about.conversation, request.notice, request.rider_id, request.text[:LONGEST_TEXT])
    return Outcome(RiderNotified(notice=request.notice))
