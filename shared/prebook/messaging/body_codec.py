"""Codec of message bodies: a body class and its CloudEvents type, and JSON in between.

Every version of a message can be read, and is upcast to the newest one (``contracts.versions``). A received body keeps
its version and its bytes, so that fields which this version does not know survive every further delivery.
"""

import re
from typing import Any, cast

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.versions import downcast, upcast, versions_of
from prebook.messaging.envelope import EncodedBody
from prebook.messaging.errors import Malformed

BODY_TYPES: dict[str, type[Message]] = {}
"""Class of the newest version of a body, which a handler gets, by the CloudEvents type of any version."""
VERSION_TYPES: dict[str, type[Message]] = {}
"""Class of a version of a body by its CloudEvents type."""
_TYPES: dict[type[Message], str] = {}
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {}
_ENCODER = msgspec.json.Encoder()


def message_name(body: type[Message]) -> str:
    """Return the name of a message: that of ``FareQuoted`` is ``fare_quoted``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", body.__name__).lower()


def ce_types(body: type[Message]) -> list[str]:
    """Return the CloudEvents types of all versions of a body, given the class of the newest; the first one first."""
    return [f"prebook.{message_name(body)}.v{number}" for number, _ in enumerate(versions_of(body), 1)]


def ce_type(body: type[Message]) -> str:
    """Return the CloudEvents type of a body: ``FareQuoted`` has ``prebook.fare_quoted.v1``."""
    return ce_types(body)[-1]


def register_body(body: type[Message]) -> None:
    """Add a body class, so that it can be encoded, and all its versions decoded."""
    _TYPES[body] = ce_type(body)
    for name, version in zip(ce_types(body), versions_of(body), strict=True):
        BODY_TYPES[name] = body
        VERSION_TYPES[name] = version
        _DECODERS[name] = msgspec.json.Decoder(version)


def encode_body(body: Message, version: int | None = None) -> EncodedBody:
    """Encode a body in one of its versions, numbered from 1; None: the newest.

    Raises ValueError if the version cannot say what the body says.
    """
    if version is None:
        return EncodedBody(_TYPES[type(body)], _ENCODER.encode(body))
    return EncodedBody(ce_types(type(body))[version - 1], _ENCODER.encode(downcast(body, version)))


def decode_body(type_: str, data: bytes) -> Message:
    """Decode a body of any version, and return it in the newest one; fields that its version does not have are ignored.

    ``type_``: CloudEvents type of the message. Raises Malformed.
    """
    decoder = _DECODERS.get(type_)
    if decoder is None:
        raise unknown_type(type_)
    try:
        data.decode()  # msgspec skips the text of an unknown field unread, and the database stores UTF-8 only
        return upcast(cast("Message", decoder.decode(data)), BODY_TYPES[type_])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cause = "wrong_schema" if isinstance(error, msgspec.ValidationError) else "bad_json"
        raise Malformed(cause, f"{type_}: {error}") from None
    except RecursionError:
        raise Malformed("bad_json", f"{type_}: nested too deeply") from None


def unknown_type(type_: str) -> Malformed:
    """Return the error of a CloudEvents type that no body class has."""
    return Malformed("unknown_type", f"{type_} is not a message type of this version")
