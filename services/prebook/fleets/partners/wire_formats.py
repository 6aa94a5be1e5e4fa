"""Wire formats of the partners, from the partner's side."""

import json
from datetime import UTC, datetime

from prebook.fleets.partners.simulation import QUARTER_HOUR_S, PartnerRide, WireFormat


def decode_ada_request(raw: bytes) -> PartnerRide:
    """Ride of a request in Ada's format: JSON objects."""
    trip = json.loads(raw)["trip"]
    lat, lon = (round(trip["from"][axis] * 1e5) for axis in ("latitude", "longitude"))
    return PartnerRide(lat, lon, int(trip["when"]) // QUARTER_HOUR_S, trip["tier"], int(trip["seats"]))


def encode_ada_offer(minutes: int) -> bytes:
    """Offer in Ada's format: seconds to arrival."""
    return json.dumps({"status": "OK", "eta_s": minutes * 60}).encode()


def decode_borealis_request(raw: bytes) -> PartnerRide:
    """Ride of a request in Borealis' format: fields separated by semicolons."""
    word, lat, lon, when, tier, seats = raw.decode("ascii").split(";")
    if word != "REQ":
        raise ValueError(word)
    at = datetime.strptime(when, "%Y%m%d%H%M").replace(tzinfo=UTC)
    return PartnerRide(
        round(float(lat) * 1e5), round(float(lon) * 1e5), int(at.timestamp()) // QUARTER_HOUR_S, tier, int(seats)
    )


def encode_borealis_offer(minutes: int) -> bytes:
    """Offer in Borealis' format: minutes to arrival."""
    return f"ACK;{minutes}".encode()


def decode_cargo_request(raw: bytes) -> PartnerRide:
    """Ride of a request in Cargo's format: a JSON array."""
    word, (lat, lon), when, tier, seats = json.loads(raw)
    if word != "offer?":
        raise ValueError(word)
    quarter = int(datetime.fromisoformat(when).timestamp()) // QUARTER_HOUR_S
    return PartnerRide(round(lat / 10), round(lon / 10), quarter, tier, int(seats))


def encode_cargo_offer(minutes: int) -> bytes:
    """Offer in Cargo's format: hundredths of an hour, rounded down, which the decoder turns into the same minutes."""
    return json.dumps(["yes", minutes * 100 // 60]).encode()


def decode_delta_request(raw: bytes) -> PartnerRide:
    """Ride of a request in Delta's format, the second version of Ada's."""
    request = json.loads(raw)
    lat, lon = (round(float(part) * 1e5) for part in request["pickup"]["point"].split(","))
    quarter = int(datetime.fromisoformat(request["pickup"]["at"]).timestamp()) // QUARTER_HOUR_S
    return PartnerRide(lat, lon, quarter, request["class"], int(request["seats"]))


def encode_delta_offer(minutes: int) -> bytes:
    """Offer in Delta's format: a duration by ISO 8601."""
    return json.dumps({"offer": {"arrives_in": f"PT{minutes}M"}}).encode()


ADA = WireFormat(
    decode_ada_request,
    encode_ada_offer,
    b'{"status": "NO_CAPACITY"}',
    b'{"status": "BAD_REQUEST"}',
    "application/vnd.ada.reply.v1+json",
)
BOREALIS = WireFormat(
    decode_borealis_request, encode_borealis_offer, b"NAK;busy", b"NAK;syntax", "text/vnd.borealis.reply.v1"
)
CARGO = WireFormat(
    decode_cargo_request,
    encode_cargo_offer,
    b'["no", "all out"]',
    b'["no", "what?"]',
    "application/vnd.cargo.reply.v1+json",
)
DELTA = WireFormat(
    decode_delta_request,
    encode_delta_offer,
    b'{"refusal": {"code": "full"}}',
    b'{"refusal": {"code": "bad_request"}}',
    "application/vnd.ada.reply.v2+json",
)
