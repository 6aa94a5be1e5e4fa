"""Bodies as a newer version of their sender would write them: every JSON object has one more field."""

from collections.abc import Callable
from typing import Any

import msgspec

from prebook.contracts.message import Message
from prebook.messaging.envelope import EncodedBody

ADDITIONAL_FIELD = "added_by_a_newer_version"


def add_fields(body: bytes, value: str = "") -> bytes:
    """Return a JSON body with an additional field in it and in every object inside it, and with line breaks."""
    return spell_out(_with_field(msgspec.json.decode(body), value))


def spell_out(value: Any) -> bytes:
    """Return JSON with line breaks, which no encoder of the suite writes."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def additionally_encoding(
    encode_body: Callable[[Message], EncodedBody], next_value: Callable[[], str]
) -> Callable[[Message], EncodedBody]:
    """Return an encoder of bodies that adds fields to what ``encode_body`` writes.

    ``next_value`` returns the value of the fields of one body: it says by whom, or when, the body was encoded.
    """

    def encode(body: Message) -> EncodedBody:
        encoded = encode_body(body)
        return EncodedBody(encoded.type, add_fields(encoded.data, next_value()))

    return encode


def _with_field(decoded: Any, value: str) -> Any:
    match decoded:
        case dict():
            return {**{name: _with_field(inner, value) for name, inner in decoded.items()}, ADDITIONAL_FIELD: [value]}
        case list():
            return [_with_field(inner, value) for inner in decoded]
    return decoded
