"""The three partners' own words, each read and spoken here from the partner's side of the wire."""

import json
from datetime import UTC, datetime

from prebook.fleets.partners.simulation import QUARTER_S, Language, Trip


def read_ada(question: bytes) -> Trip:
    trip = json.loads(question)["trip"]
    lat, lon = (round(trip["from"][axis] * 1e5) for axis in ("latitude", "longitude"))
    return Trip(lat, lon, int(trip["when"]) // QUARTER_S, trip["tier"], int(trip["seats"]))


def offer_ada(minutes: int) -> bytes:
    return json.dumps({"status": "OK", "eta_s": minutes * 60}).encode()


def read_borealis(question: bytes) -> Trip:
    word, lat, lon, when, tier, seats = question.decode("ascii").split(";")
    if word != "REQ":
        raise ValueError(word)
    at = datetime.strptime(when, "%Y%m%d%H%M").replace(tzinfo=UTC)
    return Trip(round(float(lat) * 1e5), round(float(lon) * 1e5), int(at.timestamp()) // QUARTER_S, tier, int(seats))


def offer_borealis(minutes: int) -> bytes:
    return f"ACK;{minutes}".encode()


def read_cargo(question: bytes) -> Trip:
    word, (lat, lon), when, tier, seats = json.loads(question)
    if word != "offer?":
        raise ValueError(word)
    quarter = int(datetime.fromisoformat(when).timestamp()) // QUARTER_S
    return Trip(round(lat / 10), round(lon / 10), quarter, tier, int(seats))


def offer_cargo(minutes: int) -> bytes:
    """Hundredths of an hour, rounded down: whole minutes survive the way there and back."""
    return json.dumps(["yes", minutes * 100 // 60]).encode()


ADA = Language(read_ada, offer_ada, b'{"status": "NO_CAPACITY"}', b'{"status": "BAD_REQUEST"}')
BOREALIS = Language(read_borealis, offer_borealis, b"NAK;busy", b"NAK;syntax")
CARGO = Language(read_cargo, offer_cargo, b'["no", "all out"]', b'["no", "what?"]')
