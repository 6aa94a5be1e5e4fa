"""Envelopes in a column: headers and body in one JSON document, readable with psql."""

import msgspec

from prebook.messaging.codec import WireMessage, check_size, decode_stored, decode_verbatim, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import EXPIRES_AT_HEADER
from prebook.messaging.message_document import MessageDocument

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(MessageDocument)


def to_column(envelope: Envelope) -> str:
    """Encode a message for a ``message`` column."""
    return _ENCODER.encode(MessageDocument.of(encode(envelope))).decode()


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
    headers = {name: value for name, value in row.headers.items() if name != EXPIRES_AT_HEADER}
    return _ENCODER.encode(msgspec.structs.replace(row, headers=headers)).decode()


def _decode_column(text: str) -> WireMessage:
    try:
        return _DECODER.decode(text).to_message()
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed("bad_row", f"the row holds no message: {error}") from None
