"""Envelopes as column values: headers and body in one JSON document, readable with psql."""

import msgspec

from prebook.messaging.codec import EXPIRES_AT, Malformed, Wire, as_spelled, encode, must_fit, read
from prebook.messaging.envelope import Envelope


class _Row(msgspec.Struct, frozen=True):
    h: dict[str, str]
    b: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Row)


def to_column(envelope: Envelope) -> str:
    wire = encode(envelope)
    return _ENCODER.encode(_Row(dict(wire.headers), wire.body.decode())).decode()


def from_column(text: str) -> Envelope:
    """Raises Malformed where another version has written what this one does not know."""
    return read(_wire(text))


def to_be_sent(text: str) -> Envelope:
    """Raises Malformed for what is too large to be taken by anybody, too."""
    wire = _wire(text)
    must_fit(wire)
    return as_spelled(wire)


def unexpiring(text: str) -> str:
    """The same message, without an end to its time."""
    row = _DECODER.decode(text)
    return _ENCODER.encode(_Row({k: v for k, v in row.h.items() if k != EXPIRES_AT}, row.b)).decode()


def _wire(text: str) -> Wire:
    try:
        row = _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise Malformed("bad_row", f"the row holds no message: {error}") from None
    return Wire(row.h, row.b.encode())
