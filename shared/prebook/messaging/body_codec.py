"""Codec of message bodies: a body class and its CloudEvents type, with JSON or MessagePack in between.

Every version of a message can be read, and is upcast to the newest one (``contracts.versions``). A received body keeps
its version and its bytes, so that fields which this version does not know survive every further delivery.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.versions import downcast, upcast, versions_of
from prebook.messaging.envelope import JSON, EncodedBody
from prebook.messaging.errors import Malformed

MSGPACK = "application/vnd.msgpack"
"""Source: IANA, Media Types."""
BODY_TYPES: dict[str, type[Message]] = {}
"""Class of the newest version of a body, which a handler gets, by the CloudEvents type of any version."""
VERSION_TYPES: dict[str, type[Message]] = {}
"""Class of a version of a body by its CloudEvents type."""
_TYPES: dict[type[Message], str] = {}
_DECODERS: dict[str, Mapping[str, Callable[[bytes], Any]]] = {}
"""Decoder by CloudEvents type and content type."""
_ENCODERS: Mapping[str, Callable[[Any], bytes]] = {
    JSON: msgspec.json.Encoder().encode,
    MSGPACK: msgspec.msgpack.Encoder().encode,
}
CONTENT_TYPES = tuple(_ENCODERS)
"""Content types that every receiver reads."""
MALFORMED_CAUSES: Mapping[str, str] = {JSON: "bad_json", MSGPACK: "bad_msgpack"}
"""Cause of a body that is not of its content type."""
UNKNOWN_CONTENT_TYPE_CAUSE = "unknown_content_type"
MAX_QUOTED_CHARS = 80


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
        _DECODERS[name] = {
            JSON: msgspec.json.Decoder(version).decode,
            MSGPACK: msgspec.msgpack.Decoder(version).decode,
        }


def encode_body(body: Message, version: int | None = None, content_type: str = JSON) -> EncodedBody:
    """Encode a body in one of its versions, numbered from 1; None: the newest. ``content_type``: JSON or MSGPACK.

    Raises ValueError if the version cannot say what the body says.
    """
    encode = _ENCODERS[content_type]
    if version is None:
        return EncodedBody(_TYPES[type(body)], encode(body), content_type)
    return EncodedBody(ce_types(type(body))[version - 1], encode(downcast(body, version)), content_type)


def decode_body(type_: str, data: bytes, content_type: str = JSON) -> Message:
    """Decode a body of any version, and return it in the newest one; fields that its version does not have are ignored.

    ``type_``: CloudEvents type of the message. Raises Malformed.
    """
    decoders = _DECODERS.get(type_)
    if decoders is None:
        raise unknown_type(type_)
    format_ = format_of(content_type)
    try:
        if format_ == JSON:
            data.decode()  # JSON is UTF-8, but msgspec skips the text of an unknown field unread
        return upcast(cast("Message", decoders[format_](data)), BODY_TYPES[type_])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cause = "wrong_schema" if isinstance(error, msgspec.ValidationError) else MALFORMED_CAUSES[format_]
        raise Malformed(cause, f"{type_}: {error}") from None
    except RecursionError:
        raise Malformed(MALFORMED_CAUSES[format_], f"{type_}: nested too deeply") from None


def format_of(content_type: str) -> str:
    """Return JSON or MSGPACK for a content type, whatever its parameters. Raises Malformed for any other one."""
    format_ = content_type.partition(";")[0].strip().lower()
    if format_ not in _ENCODERS:
        quoted = content_type[:MAX_QUOTED_CHARS]
        raise Malformed(UNKNOWN_CONTENT_TYPE_CAUSE, f"no decoder for the content type {quoted!r}; send {JSON}")
    return format_


def unknown_type(type_: str) -> Malformed:
    """Return the error of a CloudEvents type that no body class has."""
    return Malformed("unknown_type", f"{type_} is not a message type of this version")
