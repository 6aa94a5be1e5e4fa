"""Message translators: our request in each partner's wire format, and its reply in ours.

Source: EIP, Message Translator. A partner may send anything: an unreadable reply is a result, never an error that is
retried.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import VehicleClass

MAX_MINUTES_AWAY = 24 * 60
MAX_REASON_CHARS = 60
MAX_EXCERPT_CHARS = 200


@dataclass(frozen=True)
class PartnerAccepted:
    """The partner offers a ride, so many minutes away from the pickup."""

    minutes_away: int


@dataclass(frozen=True)
class PartnerDeclined:
    """The partner offers no ride."""

    reason: str


@dataclass(frozen=True)
class UnreadableReply:
    """A reply that violates the partner's wire format or has an impossible value."""

    excerpt: str


PartnerReply = PartnerAccepted | PartnerDeclined | UnreadableReply


@dataclass(frozen=True)
class MessageTranslator:
    """Encoder and decoder for one partner's wire format."""

    encode_request: Callable[[AskFleet], bytes]
    decode_reply: Callable[[bytes], PartnerAccepted | PartnerDeclined]

    def read_reply(self, raw: bytes) -> PartnerReply:
        """Decode a reply; UnreadableReply instead of an exception."""
        try:
            reply = self.decode_reply(raw)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return unreadable_reply(raw)
        if isinstance(reply, PartnerAccepted) and not 0 <= reply.minutes_away <= MAX_MINUTES_AWAY:
            return unreadable_reply(raw)
        return reply


def unreadable_reply(raw: bytes) -> UnreadableReply:
    """UnreadableReply with an excerpt that is safe to store: printable ASCII, at most MAX_EXCERPT_CHARS."""
    return UnreadableReply(ascii(raw[:MAX_EXCERPT_CHARS].decode("latin-1"))[:MAX_EXCERPT_CHARS])


def encode_ada_request(request: AskFleet) -> bytes:
    """Request in Ada's format: JSON objects, epoch seconds, seconds to arrival."""
    pickup = {"latitude": request.pickup.lat, "longitude": request.pickup.lon}
    trip = {
        "from": pickup,
        "when": int(request.pickup_at.timestamp()),
        "tier": request.vehicle_class,
        "seats": request.passengers,
    }
    return json.dumps({"trip": trip}).encode()


def decode_ada_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    """Accepted or declined in Ada's format; minutes are rounded up."""
    reply = json.loads(raw)
    return (
        PartnerAccepted(-(-int(reply["eta_s"]) // 60))
        if reply["status"] == "OK"
        else _partner_declined(reply["status"])
    )


BOREALIS_CLASSES = {VehicleClass.STANDARD: "S", VehicleClass.COMFORT: "C", VehicleClass.XL: "X"}


def encode_borealis_request(request: AskFleet) -> bytes:
    """Request in Borealis' format: one line of fields separated by semicolons."""
    pickup_at = request.pickup_at.astimezone(UTC).strftime("%Y%m%d%H%M")
    fields = (
        "REQ",
        f"{request.pickup.lat:.5f}",
        f"{request.pickup.lon:.5f}",
        pickup_at,
        BOREALIS_CLASSES[request.vehicle_class],
    )
    return ";".join((*fields, str(request.passengers))).encode()


def decode_borealis_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    """Accepted or declined in Borealis' format."""
    word, value = raw.decode("ascii").split(";", 1)
    return PartnerAccepted(int(value)) if word == "ACK" else _parse_decline(word, "NAK", value)


def encode_cargo_request(request: AskFleet) -> bytes:
    """Request in Cargo's format: a JSON array, millionths of a degree, hundredths of an hour to arrival."""
    pickup = [round(request.pickup.lat * 1e6), round(request.pickup.lon * 1e6)]
    pickup_at = request.pickup_at.astimezone(UTC).isoformat()
    return json.dumps(["offer?", pickup, pickup_at, request.vehicle_class.upper(), request.passengers]).encode()


def decode_cargo_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    """Accepted or declined in Cargo's format; minutes are rounded up."""
    word, value = json.loads(raw)
    return PartnerAccepted(-(-int(value) * 60 // 100)) if word == "yes" else _parse_decline(word, "no", value)


def _parse_decline(word: object, decline_word: str, reason: object) -> PartnerDeclined:
    """Declined, with the reason. Raises ValueError if ``word`` is not ``decline_word``."""
    if word != decline_word:
        raise ValueError(word)
    return _partner_declined(reason)


def _partner_declined(reason: object) -> PartnerDeclined:
    """Declined, with a bounded, printable reason. Raises TypeError if the reason is not a string."""
    if not isinstance(reason, str):
        raise TypeError
    return PartnerDeclined("".join(c for c in reason[:MAX_REASON_CHARS] if c.isprintable()))


TRANSLATORS: Mapping[str, MessageTranslator] = {
    "ada": MessageTranslator(encode_ada_request, decode_ada_reply),
    "borealis": MessageTranslator(encode_borealis_request, decode_borealis_reply),
    "cargo": MessageTranslator(encode_cargo_request, decode_cargo_reply),
}
