"""Message translators: our request in each partner's wire format, and its reply in ours.

Source: EIP, Message Translator and Normalizer. A partner may send anything: an unreadable reply is a result, never an
error that is retried. To support another partner, or version of a format, add a translator to TRANSLATORS.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import VehicleClass
from prebook.patterns.normalizer import ForeignMessage, Normalizer, UnreadableMessage, printable

MAX_MINUTES_AWAY = 24 * 60
MAX_REASON_CHARS = 60


@dataclass(frozen=True)
class PartnerAccepted:
    """The partner offers a ride, so many minutes away from the pickup."""

    minutes_away: int


@dataclass(frozen=True)
class PartnerDeclined:
    """The partner offers no ride."""

    reason: str


PartnerReply = PartnerAccepted | PartnerDeclined


@dataclass(frozen=True)
class MessageTranslator:
    """Encoder of requests for one partner, and decoder of the format, with its version, in which it replies."""

    encode_request: Callable[[AskFleet], bytes]
    reply_type: str
    """Media type of the replies."""
    decode_reply: Callable[[bytes], PartnerReply]


def read_reply(reply: ForeignMessage) -> PartnerReply | UnreadableMessage:
    """Translate a reply by the format that it names."""
    return NORMALIZER.read(reply)


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


def decode_ada_reply(raw: bytes) -> PartnerReply:
    """Accepted or declined in Ada's format; minutes are rounded up."""
    reply = json.loads(raw)
    return (
        _partner_accepted(-(-int(reply["eta_s"]) // 60))
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


def decode_borealis_reply(raw: bytes) -> PartnerReply:
    """Accepted or declined in Borealis' format."""
    word, value = raw.decode("ascii").split(";", 1)
    return _partner_accepted(int(value)) if word == "ACK" else _parse_decline(word, "NAK", value)


def encode_cargo_request(request: AskFleet) -> bytes:
    """Request in Cargo's format: a JSON array, millionths of a degree, hundredths of an hour to arrival."""
    pickup = [round(request.pickup.lat * 1e6), round(request.pickup.lon * 1e6)]
    pickup_at = request.pickup_at.astimezone(UTC).isoformat()
    return json.dumps(["offer?", pickup, pickup_at, request.vehicle_class.upper(), request.passengers]).encode()


def decode_cargo_reply(raw: bytes) -> PartnerReply:
    """Accepted or declined in Cargo's format; minutes are rounded up."""
    word, value = json.loads(raw)
    return _partner_accepted(-(-int(value) * 60 // 100)) if word == "yes" else _parse_decline(word, "no", value)


ISO_MINUTES = re.compile(r"PT(\d{1,4})M")
"""A duration in minutes. Source: ISO 8601."""


def encode_delta_request(request: AskFleet) -> bytes:
    """Request in Delta's format: the second version of Ada's, with a point as text and times by ISO 8601."""
    pickup = {
        "point": f"{request.pickup.lat:.5f},{request.pickup.lon:.5f}",
        "at": request.pickup_at.astimezone(UTC).isoformat(),
    }
    return json.dumps({"pickup": pickup, "class": request.vehicle_class, "seats": request.passengers}).encode()


def decode_delta_reply(raw: bytes) -> PartnerReply:
    """Reply in the second version of Ada's format: either an offer, with a duration as text, or a refusal."""
    ((kind, value),) = json.loads(raw).items()
    if kind == "refusal":
        return _partner_declined(value["code"])
    duration = ISO_MINUTES.fullmatch(value["arrives_in"]) if kind == "offer" else None
    if duration is None:
        raise ValueError(kind)
    return _partner_accepted(int(duration[1]))


def _partner_accepted(minutes_away: int) -> PartnerAccepted:
    """Return the acceptance. Raises ValueError for an impossible number of minutes."""
    if not 0 <= minutes_away <= MAX_MINUTES_AWAY:
        raise ValueError(f"{minutes_away} minutes away")
    return PartnerAccepted(minutes_away)


def _parse_decline(word: object, decline_word: str, reason: object) -> PartnerDeclined:
    """Declined, with the reason. Raises ValueError if ``word`` is not ``decline_word``."""
    if word != decline_word:
        raise ValueError(word)
    return _partner_declined(reason)


def _partner_declined(reason: object) -> PartnerDeclined:
    """Declined, with a bounded, printable reason. Raises TypeError if the reason is not a string."""
    if not isinstance(reason, str):
        raise TypeError
    return PartnerDeclined(printable(reason, MAX_REASON_CHARS))


TRANSLATORS: Mapping[str, MessageTranslator] = {
    "ada": MessageTranslator(encode_ada_request, "application/vnd.ada.reply.v1+json", decode_ada_reply),
    "borealis": MessageTranslator(encode_borealis_request, "text/vnd.borealis.reply.v1", decode_borealis_reply),
    "cargo": MessageTranslator(encode_cargo_request, "application/vnd.cargo.reply.v1+json", decode_cargo_reply),
    "delta": MessageTranslator(encode_delta_request, "application/vnd.ada.reply.v2+json", decode_delta_reply),
}
"""Translator by partner."""
NORMALIZER: Normalizer[PartnerReply] = Normalizer({t.reply_type: t.decode_reply for t in TRANSLATORS.values()})
