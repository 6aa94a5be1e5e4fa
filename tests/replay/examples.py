"""Archived messages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prebook.contracts.events import BookingEnded, BookingEnding
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.replay.archived_message import ArchivedMessage

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def kept(number: int = 0, *, booking: str = "b1", minutes: float = 0.0, **headers: str) -> ArchivedMessage:
    """A fact said so many minutes after noon; ``headers`` with _ for - over its own."""
    envelope = Envelope(
        id=f"{booking}.booking_ended.{number}",
        kind=MessageKind.EVENT,
        flow="booking_ended",
        body=BookingEnded(booking_id=booking, ending=BookingEnding.CANCELLED, reason="rider"),
        source="booking",
        conversation_id=booking,
        time=NOON + timedelta(minutes=minutes),
        plan=dict.fromkeys(FLOWS, Coupling.ONE_WAY),
    )
    wire = encode(envelope)
    said = {**wire.headers, "x-stream-offset": str(number), **{n.replace("_", "-"): v for n, v in headers.items()}}
    return ArchivedMessage(number, addresses.event_routing_key("booking_ended"), WireMessage(said, wire.body))


def without(message: ArchivedMessage, name: str) -> ArchivedMessage:
    headers = {known: value for known, value in message.headers.items() if known != name}
    return replace(message, wire=WireMessage(headers, message.wire.body))
