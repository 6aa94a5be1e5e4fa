"""Archived messages for tests."""

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


def archived_event(
    number: int = 0, *, booking: str = "b1", minutes: float = 0.0, user: str = "prebook_booking", **headers: str
) -> ArchivedMessage:
    """Return the event ``booking_ended`` with its event time ``minutes`` after noon and ``number`` as its offset.

    ``headers``, written with _ for -, are added or replace those of the event.
    """
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
    changes = {name.replace("_", "-"): value for name, value in headers.items()}
    archived_headers = {**wire.headers, "x-stream-offset": str(number), **changes}
    return ArchivedMessage(
        number, addresses.event_routing_key("booking_ended"), WireMessage(archived_headers, wire.body), user
    )


def without_header(message: ArchivedMessage, name: str) -> ArchivedMessage:
    """Return ``message`` without the header ``name``."""
    headers = {known: value for known, value in message.headers.items() if known != name}
    return replace(message, wire=WireMessage(headers, message.wire.body))
