"""Codec of message bodies: a body class and its CloudEvents type, and JSON in between.

A body keeps the bytes that it was received with, so that fields which this version does not know survive every further
delivery.
"""

import re
from typing import Any, cast

import msgspec

from prebook.contracts.message import Message
from prebook.messaging.envelope import EncodedBody
from prebook.messaging.errors import Malformed

BODY_TYPES: dict[str, type[Message]] = {}
"""Body class by CloudEvents type."""
_TYPES: dict[type[Message], str] = {}
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {}
_ENCODER = msgspec.json.Encoder()


def ce_type(body: type[Message]) -> str:
    """CloudEvents type of a body: ``FareQuoted`` has ``prebook.fare_quoted.v1``."""
    return f"prebook.{re.sub(r'(?<!^)(?=[A-Z])', '_', body.__name__).lower()}.v1"


def register_body(body: type[Message]) -> None:
    """Add a body class, so that it can be encoded and decoded."""
    name = ce_type(body)
    BODY_TYPES[name] = body
    _TYPES[body] = name
    _DECODERS[name] = msgspec.json.Decoder(body)


def encode_body(body: Message) -> EncodedBody:
    """Encode a body in its newest version."""
    return EncodedBody(_TYPES[type(body)], _ENCODER.encode(body))


def decode_body(type_: str, data: bytes) -> Message:
    """Decode the body of a message; fields that its class does not have are ignored. ``type_``: its CloudEvents type.

    Raises Malformed.
    """
    decoder = _DECODERS.get(type_)
    if decoder is None:
        raise unknown_type(type_)
    try:
        data.decode()  # msgspec skips the text of an unknown field unread, and the database stores UTF-8 only
        return cast("Message", decoder.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cause = "wrong_schema" if isinstance(error, msgspec.ValidationError) else "bad_json"
        raise Malformed(cause, f"{type_}: {error}") from None
    except RecursionError:
        raise Malformed("bad_json", f"{type_}: nested too deeply") from None


def unknown_type(type_: str) -> Malformed:
    """Return the error of a CloudEvents type that no body class has."""
    return Malformed("unknown_type", f"{type_} is not a message type of this version")
