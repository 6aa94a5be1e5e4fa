"""One exchange with a partner fleet: the request in its format, and its reply, if one comes in time, in the suite's."""

import asyncio
from dataclasses import dataclass

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain.message_translators import (
    TRANSLATORS,
    PartnerAccepted,
    PartnerDeclined,
    PartnerReply,
    read_reply,
)
from prebook.fleets.partners.simulation import PartnerCall
from prebook.patterns.normalizer import ForeignMessage, UnreadableMessage

MAX_KEPT_MEDIA_TYPE_CHARS = 200


@dataclass(frozen=True)
class NoReply:
    """The partner has not replied in time."""


@dataclass(frozen=True)
class PartnerExchange:
    """A request and the partner's reply to it."""

    request: AskFleet
    reply: PartnerReply | UnreadableMessage | NoReply

    @property
    def outcome(self) -> str:
        """Outcome of the exchange, as metrics name it."""
        match self.reply:
            case PartnerAccepted():
                return "accepted"
            case PartnerDeclined():
                return "declined"
            case UnreadableMessage(cause=cause):
                return cause.value
            case NoReply():
                return "no_reply"


async def call_partner(partner: PartnerCall, request: AskFleet, timeout_s: float) -> PartnerExchange:
    """Send the request in the partner's format, and translate its reply."""
    try:
        async with asyncio.timeout(timeout_s):
            reply = await partner(TRANSLATORS[request.fleet].encode_request(request))
    except TimeoutError:
        return PartnerExchange(request, NoReply())
    named = ForeignMessage(reply.media_type[:MAX_KEPT_MEDIA_TYPE_CHARS], reply.body)
    return PartnerExchange(request, read_reply(named))
