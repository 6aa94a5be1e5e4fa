"""Golden pairs: the same request, and what replies mean, in the format of each partner. Written by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import Place, VehicleClass
from prebook.fleets.domain.message_translators import PartnerAccepted, PartnerDeclined, PartnerReply
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage

REQUESTS: Mapping[str, bytes] = {
    "ada": b'{"trip": {"from": {"latitude": 52.5, "longitude": 13.4}, "when": 1803889200, '
    b'"tier": "comfort", "seats": 3}}',
    "borealis": b"REQ;52.50000;13.40000;202703010820;C;3",
    "cargo": b'["offer?", [52500000, 13400000], "2027-03-01T08:20:00+00:00", "COMFORT", 3]',
    "delta": b'{"pickup": {"point": "52.50000,13.40000", "at": "2027-03-01T08:20:00+00:00"}, '
    b'"class": "comfort", "seats": 3}',
}
"""Partner -> request for a ride from 52.5, 13.4 at 08:20 UTC on 1 March 2027, in class comfort, for 3 passengers."""
ADA = "application/vnd.ada.reply.v1+json"
BOREALIS = "text/vnd.borealis.reply.v1"
CARGO = "application/vnd.cargo.reply.v1+json"
DELTA = "application/vnd.ada.reply.v2+json"
UNKNOWN = "application/vnd.ada.reply.v3+json"
REPLIES: tuple[tuple[str, bytes, PartnerReply | UnreadableCause], ...] = (
    (ADA, b'{"status": "OK", "eta_s": 420}', PartnerAccepted(7)),
    (ADA, b'{"status": "OK", "eta_s": 421}', PartnerAccepted(8)),
    (ADA, b'{"status": "NO_CAPACITY"}', PartnerDeclined("NO_CAPACITY")),
    (ADA, b'{"status": "OK"', UnreadableCause.GARBLED),
    (BOREALIS, b"ACK;14", PartnerAccepted(14)),
    (BOREALIS, b"NAK;busy", PartnerDeclined("busy")),
    (BOREALIS, b"ACK;soon", UnreadableCause.GARBLED),
    (CARGO, b'["yes", 16]', PartnerAccepted(10)),
    (CARGO, b'["no", "all out"]', PartnerDeclined("all out")),
    (CARGO, b'["perhaps", 16]', UnreadableCause.GARBLED),
    (DELTA, b'{"offer": {"arrives_in": "PT15M"}}', PartnerAccepted(15)),
    (DELTA, b'{"refusal": {"code": "full"}}', PartnerDeclined("full")),
    (DELTA, b'{"status": "OK", "eta_s": 420}', UnreadableCause.GARBLED),
    (UNKNOWN, b'{"offer": {"arrives_in": "PT15M"}}', UnreadableCause.UNKNOWN_VERSION),
)
"""Media type, bytes and meaning of replies."""


def golden_request(fleet: str) -> AskFleet:
    """Return the request whose bytes REQUESTS has."""
    return AskFleet(
        fleet=fleet,
        pickup=Place(lat=52.5, lon=13.4),
        pickup_at=datetime(2027, 3, 1, 8, 20, tzinfo=UTC),
        ride_minutes=20,
        vehicle_class=VehicleClass.COMFORT,
        passengers=3,
    )


def unreadable(cause: UnreadableCause, media_type: str, body: bytes) -> UnreadableMessage:
    """Return what a normalizer makes of an unreadable reply."""
    return UnreadableMessage(cause, ForeignMessage(media_type, body))
