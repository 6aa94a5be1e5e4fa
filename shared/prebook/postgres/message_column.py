"""Envelopes in a column: headers and body in one JSON document, readable with psql."""

import msgspec

from prebook.messaging.codec import WireMessage, check_size, decode_stored, decode_verbatim, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import EXPIRES_AT_HEADER


class _StoredMessage(msgspec.Struct, frozen=True):
    headers: dict[str, str]
    body: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_StoredMessage)


def to_column(envelope: Envelope) -> str:
    """Encode a message for a ``message`` column."""
    wire = encode(envelope)
    return _ENCODER.encode(_StoredMessage(dict(wire.headers), wire.body.decode())).decode()


def from_column(text: str) -> Envelope:
    """Decode a stored message. Raises Malformed if another version has written it in an unknown form."""
    return decode_stored(_decode_column(text))


def sendable_from_column(text: str) -> Envelope:
    """Decode a message that is to be sent as it is. Raises Malformed also if no receiver accepts its size."""
    wire = _decode_column(text)
    check_size(wire)
    return decode_verbatim(wire)


def without_expiry(text: str) -> str:
    """Return the same message without its expiry."""
    row = _DECODER.decode(text)
    return _ENCODER.encode(
        _StoredMessage({k: v for k, v in row.headers.items() if k != EXPIRES_AT_HEADER}, row.body)
    ).decode()


def _decode_column(text: str) -> WireMessage:
    try:
        row = _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise Malformed("bad_row", f"the row holds no message: {error}") from None
    return WireMessage(row.headers, row.body.encode())
