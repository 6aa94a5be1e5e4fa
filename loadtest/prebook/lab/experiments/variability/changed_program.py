"""A service with a change of its program: ``python -m`` this module, with the name of the service and of the change.

The changes are releases that the suite does not have: senders that write their messages in another way, and receivers
that know less, or more, than the present ones.
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from prebook.contracts.message import Message
from prebook.messaging import codec
from prebook.messaging.body_codec import UNKNOWN_CONTENT_TYPE_CAUSE, decode_body, encode_body, format_of, unknown_type
from prebook.messaging.envelope import JSON, EncodedBody
from prebook.messaging.errors import Malformed

FARE = "prebook.fare_quoted.v1"
FARE_REQUEST = "prebook.quote_fare.v1"
CENTS_PER_UNIT = 100
FIRST_VERSION = ".v1"
Fields = dict[str, Any]
ChangeFields = Callable[[Fields], Fields]


class Change(StrEnum):
    """Changes of programs, by what the service does afterwards."""

    WRITES_DECIMAL_FARES = "writes_decimal_fares"
    READS_DECIMAL_FARES = "reads_decimal_fares"
    WRITES_PASSENGERS_AS_TEXT = "writes_passengers_as_text"
    READS_PASSENGERS_AS_TEXT = "reads_passengers_as_text"
    QUOTES_BEFORE_DISCOUNT = "quotes_before_discount"
    SUBTRACTS_DISCOUNT = "subtracts_discount"
    WRITES_LONGITUDE_FIRST = "writes_longitude_first"
    READS_LONGITUDE_FIRST = "reads_longitude_first"
    READS_JSON_ONLY = "reads_json_only"
    READS_FIRST_VERSIONS_ONLY = "reads_first_versions_only"


def to_decimal(cents: int) -> str:
    """Return an amount in units, as a decimal text: ``"12.34"``."""
    return f"{cents // CENTS_PER_UNIT}.{cents % CENTS_PER_UNIT:02d}"


def from_decimal(amount: str | int) -> int:
    """Return the cents of a decimal text; a number is cents already."""
    if isinstance(amount, int):
        return amount
    units, _, cents = amount.partition(".")
    return int(units) * CENTS_PER_UNIT + int(cents)


def change_amounts(fields: Fields, change: Callable[[Any], Any]) -> Fields:
    """Return the fields of a quoted fare with the cents of its amounts changed."""
    changed = {name: {**fields[name], "cents": change(fields[name]["cents"])} for name in ("fare", "discount")}
    return {**fields, **changed}


def shift_fare(fields: Fields, sign: int) -> Fields:
    """Return the fields of a quoted fare with its discount added (``sign`` 1) or subtracted (-1)."""
    cents = fields["fare"]["cents"] + sign * fields["discount"]["cents"]
    return {**fields, "fare": {**fields["fare"], "cents": cents}}


def swap_coordinates(fields: Fields) -> Fields:
    """Return the fields of a fare request with latitude and longitude of both places exchanged."""
    swapped = {name: {"lat": fields[name]["lon"], "lon": fields[name]["lat"]} for name in ("pickup", "dropoff")}
    return {**fields, **swapped}


def write_changed(type_: str, change: ChangeFields) -> None:
    """Change the fields of messages of a type when this process has encoded them."""

    def encode_changed(body: Message, version: int | None = None, content_type: str = JSON) -> EncodedBody:
        encoded = encode_body(body, version, content_type)
        return _replace_data(encoded, change) if encoded.type == type_ else encoded

    setattr(codec, "encode_body", encode_changed)  # noqa: B010 - the change of the program


def _replace_data(encoded: EncodedBody, change: ChangeFields) -> EncodedBody:
    return EncodedBody(encoded.type, change_json(encoded.data, change), encoded.content_type)


def change_json(data: bytes, change: ChangeFields) -> bytes:
    """Return a JSON object with its fields changed."""
    return msgspec.json.encode(change(msgspec.json.decode(data)))


def read_changed(type_: str, change: ChangeFields) -> None:
    """Change the fields of messages of a type before this process decodes them."""

    def decode_changed(name: str, data: bytes, content_type: str = JSON) -> Message:
        return decode_body(name, change_json(data, change) if name == type_ else data, content_type)

    setattr(codec, "decode_body", decode_changed)  # noqa: B010 - the change of the program


def write_decimal_fares() -> None:
    """Let this process write amounts of fares as decimal texts, and read its own messages in its outbox."""
    write_changed(FARE, lambda fields: change_amounts(fields, to_decimal))
    read_decimal_fares()


def read_decimal_fares() -> None:
    """Let this process read amounts of fares that are decimal texts."""
    read_changed(FARE, lambda fields: change_amounts(fields, from_decimal))


def write_passengers_as_text() -> None:
    """Let this process write the number of passengers as a text, and read its own messages in its outbox."""
    write_changed(FARE_REQUEST, lambda fields: {**fields, "passengers": str(fields["passengers"])})
    read_passengers_as_text()


def read_passengers_as_text() -> None:
    """Let this process read a number of passengers that is a text."""
    read_changed(FARE_REQUEST, lambda fields: {**fields, "passengers": int(fields["passengers"])})


def read_json_only() -> None:
    """Let this process know no other content type than JSON."""

    def format_if_json(content_type: str) -> str:
        if format_of(content_type) != JSON:
            raise Malformed(UNKNOWN_CONTENT_TYPE_CAUSE, f"no decoder for {content_type}; send {JSON}")
        return JSON

    setattr(codec, "format_of", format_if_json)  # noqa: B010 - the change of the program


def read_first_versions_only() -> None:
    """Let this process know only the first version of every message."""

    def decode_first_version(name: str, data: bytes, content_type: str = JSON) -> Message:
        if not name.endswith(FIRST_VERSION):
            raise unknown_type(name)
        return decode_body(name, data, content_type)

    setattr(codec, "decode_body", decode_first_version)  # noqa: B010 - the change of the program


CHANGES: Mapping[Change, Callable[[], None]] = {
    Change.WRITES_DECIMAL_FARES: write_decimal_fares,
    Change.READS_DECIMAL_FARES: read_decimal_fares,
    Change.WRITES_PASSENGERS_AS_TEXT: write_passengers_as_text,
    Change.READS_PASSENGERS_AS_TEXT: read_passengers_as_text,
    Change.QUOTES_BEFORE_DISCOUNT: lambda: write_changed(FARE, lambda fields: shift_fare(fields, 1)),
    Change.SUBTRACTS_DISCOUNT: lambda: read_changed(FARE, lambda fields: shift_fare(fields, -1)),
    Change.WRITES_LONGITUDE_FIRST: lambda: write_changed(FARE_REQUEST, swap_coordinates),
    Change.READS_LONGITUDE_FIRST: lambda: read_changed(FARE_REQUEST, swap_coordinates),
    Change.READS_JSON_ONLY: read_json_only,
    Change.READS_FIRST_VERSIONS_ONLY: read_first_versions_only,
}


def main() -> None:
    """Apply the change that the command line names, and run the service."""
    service, change = sys.argv[1:]
    CHANGES[Change(change)]()
    runpy.run_module(f"prebook.{service}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
