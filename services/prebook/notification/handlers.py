"""Notification's handler."""

from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.messaging.handlers import Context, Outcome
from prebook.notification.domain.superseding import OVERTAKES
from prebook.notification.store import NotificationWork

LONGEST_TEXT = 500


async def notify_rider(about: Context, request: NotifyRider, work: NotificationWork) -> Outcome:
    """Tells the rider a notice of a booking once, however often and under whatever message id it is asked for.

    The answer is the same each time: the rider knows. Who and what stays in the log's table and is never printed.
    """
    text, overtakes = request.text[:LONGEST_TEXT], OVERTAKES.get(request.notice, ())
    await work.deliver(about.conversation, request.notice, request.rider_id, text, overtakes=overtakes)
    return Outcome(RiderNotified(notice=request.notice))
