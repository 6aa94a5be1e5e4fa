"""Message translators: our question in each partner's words, and its reply in ours.

Source: Enterprise Integration Patterns, "Message Translator". A partner may say anything; what cannot be read is a
kind of reply, never an error that comes again and again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import VehicleClass

MAX_MINUTES_AWAY = 24 * 60
MAX_REASON_CHARS, MAX_EXCERPT_CHARS = 60, 200


@dataclass(frozen=True)
class PartnerAccepted:
    minutes_away: int


@dataclass(frozen=True)
class PartnerDeclined:
    reason: str


@dataclass(frozen=True)
class UnreadableReply:
    """Not in the partner's own language, or nothing that can be true."""

    excerpt: str


PartnerReply = PartnerAccepted | PartnerDeclined | UnreadableReply


@dataclass(frozen=True)
class MessageTranslator:
    """Both directions of one partner's language."""

    encode_request: Callable[[AskFleet], bytes]
    decode_reply: Callable[[bytes], PartnerAccepted | PartnerDeclined]

    def read_reply(self, raw: bytes) -> PartnerReply:
        try:
            reply = self.decode_reply(raw)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return unreadable_reply(raw)
        if isinstance(reply, PartnerAccepted) and not 0 <= reply.minutes_away <= MAX_MINUTES_AWAY:
            return unreadable_reply(raw)
        return reply


def unreadable_reply(raw: bytes) -> UnreadableReply:
    """An excerpt that is safe to store: printable ASCII, bounded."""
    return UnreadableReply(ascii(raw[:MAX_EXCERPT_CHARS].decode("latin-1"))[:MAX_EXCERPT_CHARS])


def encode_ada_request(request: AskFleet) -> bytes:
    """Ada: JSON objects, epoch seconds, seconds to arrival."""
    where = {"latitude": request.pickup.lat, "longitude": request.pickup.lon}
    trip = {
        "from": where,
        "when": int(request.pickup_at.timestamp()),
        "tier": request.vehicle_class,
        "seats": request.passengers,
    }
    return json.dumps({"trip": trip}).encode()


def decode_ada_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    reply = json.loads(raw)
    return (
        PartnerAccepted(-(-int(reply["eta_s"]) // 60))
        if reply["status"] == "OK"
        else _partner_declined(reply["status"])
    )


BOREALIS_CLASSES = {VehicleClass.STANDARD: "S", VehicleClass.COMFORT: "C", VehicleClass.XL: "X"}


def encode_borealis_request(request: AskFleet) -> bytes:
    """Borealis: one line of fields, as it was done before there was JSON."""
    when = request.pickup_at.astimezone(UTC).strftime("%Y%m%d%H%M")
    fields = (
        "REQ",
        f"{request.pickup.lat:.5f}",
        f"{request.pickup.lon:.5f}",
        when,
        BOREALIS_CLASSES[request.vehicle_class],
    )
    return ";".join((*fields, str(request.passengers))).encode()


def decode_borealis_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    word, value = raw.decode("ascii").split(";", 1)
    return PartnerAccepted(int(value)) if word == "ACK" else _parse_decline(word, "NAK", value)


def encode_cargo_request(request: AskFleet) -> bytes:
    """Cargo: a bare array, coordinates in millionths of a degree, hundredths of an hour to arrival."""
    where = [round(request.pickup.lat * 1e6), round(request.pickup.lon * 1e6)]
    when = request.pickup_at.astimezone(UTC).isoformat()
    return json.dumps(["offer?", where, when, request.vehicle_class.upper(), request.passengers]).encode()


def decode_cargo_reply(raw: bytes) -> PartnerAccepted | PartnerDeclined:
    word, value = json.loads(raw)
    return PartnerAccepted(-(-int(value) * 60 // 100)) if word == "yes" else _parse_decline(word, "no", value)


def _parse_decline(word: object, decline_word: str, reason: object) -> PartnerDeclined:
    """Raises ValueError where it is not a refusal either."""
    if word != decline_word:
        raise ValueError(word)
    return _partner_declined(reason)


def _partner_declined(reason: object) -> PartnerDeclined:
    """Refuses a reason that is no text; what is left of it is bounded and printable."""
    if not isinstance(reason, str):
        raise TypeError
    return PartnerDeclined("".join(c for c in reason[:MAX_REASON_CHARS] if c.isprintable()))


TRANSLATORS: Mapping[str, MessageTranslator] = {
    "ada": MessageTranslator(encode_ada_request, decode_ada_reply),
    "borealis": MessageTranslator(encode_borealis_request, decode_borealis_reply),
    "cargo": MessageTranslator(encode_cargo_request, decode_cargo_reply),
}
