"""Notification's handler."""

from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.notification.domain.superseding import SUPERSEDES
from prebook.notification.store import NotificationWork

MAX_TEXT_CHARS = 500


async def notify_rider(context: HandlerContext, request: NotifyRider, work: NotificationWork) -> HandlerResult:
    """Tells the rider a notice of a booking once, however often and under whatever message id it is asked for.

    The answer is the same each time: the rider knows. Who and what stays in the log's table and is never printed.
    """
    text, overtakes = request.text[:MAX_TEXT_CHARS], SUPERSEDES.get(request.notice, ())
    await work.deliver(context.conversation_id, request.notice, request.rider_id, text, supersedes=overtakes)
    return HandlerResult(RiderNotified(notice=request.notice))
