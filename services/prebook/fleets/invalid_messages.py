"""Invalid message channel of the partners: unreadable replies become dead letters, where operators see them.

A reply is recorded in the transaction of its request, so that a broker outage costs no ride. This module then publishes
it until the broker confirms. Source: EIP, Invalid Message Channel.
"""

from prebook.fleets.store import FleetsWork, UnreadableReply
from prebook.flows import ASK_FLEET
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import (
    CONVERSATION_ID_HEADER,
    FLOW_HEADER,
    KIND_HEADER,
    MESSAGE_ID_HEADER,
    SOURCE_HEADER,
    TIME_HEADER,
    TYPE_HEADER,
)
from prebook.messaging.observer import NullObserver
from prebook.patterns.normalizer import MAX_MEDIA_TYPE_CHARS, printable
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.runtime.service import ServiceContext

PARKING_INTERVAL_S = 1.0
MAX_PARKED_AT_ONCE = 50
"""Maximum number of replies that one scan reads; the next scan parks the rest."""


class InvalidMessageChannel:
    """Publishes the recorded replies as dead letters. A process that ends between publication and deletion
    publishes a reply twice; operations stores it once.
    """

    def __init__(self, context: ServiceContext[FleetsWork]) -> None:
        self._units = context.units
        self._dead_letters = DeadLetterPublisher(context.publisher, NullObserver())

    async def park_recorded(self) -> int:
        """Park the oldest recorded replies; return their number. Raises Unreachable, and keeps those not yet parked."""
        async with self._units.background() as work:
            replies = await work.list_unreadable(MAX_PARKED_AT_ONCE)
        for reply in replies:
            cause = reply.unreadable.cause
            await self._dead_letters.dead_letter(
                addresses.PARTNER_REPLIES, dead_letter_of(reply), cause, Malformed(cause, _problem(reply))
            )
            async with self._units.background() as work:
                await work.delete_unreadable(reply.booking_id, reply.fleet)
        return len(replies)


def dead_letter_of(reply: UnreadableReply) -> WireMessage:
    """Return the reply as a message: its bytes as they came, and what is known about it as headers."""
    message = reply.unreadable.message
    headers = {
        MESSAGE_ID_HEADER: f"{reply.message_id}.partner_reply",
        TYPE_HEADER: printable(message.media_type, MAX_MEDIA_TYPE_CHARS),
        SOURCE_HEADER: f"/partners/{reply.fleet}",
        CONVERSATION_ID_HEADER: reply.booking_id,
        TIME_HEADER: reply.received_at.isoformat(),
        KIND_HEADER: "reply",
        FLOW_HEADER: ASK_FLEET.name,
    }
    return WireMessage(headers, message.body)


def _problem(reply: UnreadableReply) -> str:
    return f"{reply.fleet} sent {len(reply.unreadable.message.body)} bytes that no translator reads"
