"""Wire formats of the three partners, from the partner's side."""

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


ADA = WireFormat(decode_ada_request, encode_ada_offer, b'{"status": "NO_CAPACITY"}', b'{"status": "BAD_REQUEST"}')
BOREALIS = WireFormat(decode_borealis_request, encode_borealis_offer, b"NAK;busy", b"NAK;syntax")
CARGO = WireFormat(decode_cargo_request, encode_cargo_offer, b'["no", "all out"]', b'["no", "what?"]')
