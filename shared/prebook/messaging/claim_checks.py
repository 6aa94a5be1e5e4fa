"""Claim checks of outgoing and received messages: which bodies are stored, by whom, and for whom.

Source: EIP, Claim Check. The building block without messages is ``patterns.claim_check``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from prebook.contracts.message import Message
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.codec import encode
from prebook.messaging.envelope import JSON, Envelope, MessageKind
from prebook.messaging.errors import ClaimLost
from prebook.messaging.headers import CONTENT_TYPE_HEADER, TYPE_HEADER
from prebook.messaging.routing_headers import routing_headers
from prebook.messaging.unit_of_work import CheckedBody
from prebook.patterns.claim_check import MAX_CHECKED_BYTES, check_in

MISSING_CAUSE = "claim_missing"
CORRUPTED_CAUSE = "claim_corrupted"
RedeemClaim = Callable[[Envelope], Awaitable[Message]]
"""Returns the body behind the claim check of a message.

Raises ClaimLost (permanent), ClaimStoreAway (an outage) or Malformed.
"""


@dataclass(frozen=True, slots=True)
class ClaimCheckPolicy:
    """Size above which a body is stored, and how long it is kept."""

    threshold_bytes: int
    lifetime: timedelta

    def check_in(self, envelope: Envelope) -> tuple[Envelope, CheckedBody | None]:
        """Return the message to send and the body to store with it; a small message is returned as it is.

        So is one with headers that are derived from its body, since the broker routes it by them.
        """
        wire = encode(envelope)
        body = wire.body
        if not self.threshold_bytes < len(body) <= MAX_CHECKED_BYTES or routing_headers(envelope.body):
            return envelope, None
        content_type = wire.headers.get(CONTENT_TYPE_HEADER, JSON)
        check = check_in(envelope.id, wire.headers[TYPE_HEADER], body, content_type)
        stored = CheckedBody(check.reference, envelope.id, envelope.kind, envelope.flow, body, self.lifetime)
        return envelope.with_body(check), stored


async def redeem_nothing(envelope: Envelope) -> Message:
    """Implement RedeemClaim for a process that reads no claim store."""
    raise ClaimLost(MISSING_CAUSE, f"this process reads no claim store, and {envelope.id} has a claim check")


def sender_of(kind: MessageKind, flow: str) -> str:
    """Return the service that sends such a message and stores its body; empty if there is no such message.

    It is the only one that may send it, whatever a message says of itself.
    """
    if kind is MessageKind.EVENT:
        return next((each.publisher for each in EVENT_TYPES if each.name == flow), "")
    if flow not in FLOWS:
        return ""
    return FLOWS[flow].caller if kind is MessageKind.REQUEST else FLOWS[flow].provider


def receivers_of(kind: MessageKind, flow: str) -> frozenset[str]:
    """Return the services that receive such a message, and may read its body; empty if there is no such message."""
    if kind is MessageKind.EVENT:
        return frozenset(name for each in EVENT_TYPES if each.name == flow for name in each.subscribers)
    if flow not in FLOWS:
        return frozenset()
    return frozenset({FLOWS[flow].provider if kind is MessageKind.REQUEST else FLOWS[flow].caller})
