"""Notification's handler."""

from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.notification.domain.superseding import SUPERSEDES
from prebook.notification.store import NotificationWork

MAX_TEXT_CHARS = 500


async def notify_rider(context: HandlerContext, request: NotifyRider, work: NotificationWork) -> HandlerResult:
    """Deliver a notice of a booking once, however often and under whatever message id it is requested.

    The reply is RiderNotified each time. Rider and text are personal data: they are stored in the delivery log and
    never written to the process log.
    """
    text = request.text[:MAX_TEXT_CHARS]
    superseded = SUPERSEDES.get(request.notice, ())
    await work.deliver(context.conversation_id, request.notice, request.rider_id, text, supersedes=superseded)
    return HandlerResult(RiderNotified(notice=request.notice))
