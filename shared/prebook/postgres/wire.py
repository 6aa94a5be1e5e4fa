"""Envelopes as column values: headers and body in one JSON document, readable with psql."""

import msgspec

from prebook.messaging.codec import Wire, decode, encode
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
    row = _DECODER.decode(text)
    return decode(Wire(row.h, row.b.encode()))
