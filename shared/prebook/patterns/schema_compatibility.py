"""Compatibility of schemas: whether a tolerant reader can decode every value that a writer may send.

Pure, and a little stricter than any one message: a reader that would refuse some value of the writer is incompatible.
Source: Kleppmann, "Designing Data-Intensive Applications", chapter 4 (backward and forward compatibility).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class Schema(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Values that a field may have."""


class Boolean(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="boolean"):
    """True or false."""


class Number(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="number"):
    """Number within limits. ``whole``: without a fraction."""

    whole: bool
    minimum: float | None = None
    maximum: float | None = None


class Text(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    """Text of a length, and of a pattern."""

    min_length: int = 0
    max_length: int | None = None
    pattern: str = ""


class Time(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="time"):
    """Point in time. ``zoned``: always with an offset from UTC."""

    zoned: bool = False


class OneOf(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="one_of"):
    """One of these texts."""

    values: tuple[str, ...]


class ListOf(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="list"):
    """List of any number of values within limits."""

    each: "AnySchema"
    min_length: int = 0
    max_length: int | None = None


class TupleOf(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="tuple"):
    """List with a fixed number of values."""

    items: "tuple[AnySchema, ...]"


class Nullable(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="nullable"):
    """Value, or null."""

    value: "AnySchema"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Field of an object; one with a ``default`` need not be there."""

    schema: "AnySchema"
    default: Any = UNSET


class Object(Schema, frozen=True, kw_only=True, omit_defaults=True, tag="object"):
    """Object with fields. ``omits_defaults``: a writer leaves out fields that have their default."""

    fields: Mapping[str, Field]
    omits_defaults: bool = False


AnySchema = Boolean | Number | Text | Time | OneOf | ListOf | TupleOf | Nullable | Object


def reading_problems(reader: AnySchema, writer: AnySchema, path: str = "$") -> Iterator[str]:
    """Yield why ``reader`` cannot decode every value of ``writer``, or takes one for another; nothing if it can."""
    if isinstance(reader, Nullable):
        yield from reading_problems(reader.value, writer.value if isinstance(writer, Nullable) else writer, path)
    elif isinstance(writer, Nullable):
        yield f"{path}: may be null, which the reader does not allow"
    elif isinstance(reader, Object) and isinstance(writer, Object):
        yield from _object_problems(reader, writer, path)
    elif isinstance(reader, ListOf | TupleOf) and isinstance(writer, ListOf | TupleOf):
        yield from _list_problems(reader, writer, path)
    else:
        yield from _value_problems(reader, writer, path)


def _value_problems(reader: AnySchema, writer: AnySchema, path: str) -> Iterator[str]:
    match reader, writer:
        case Text(min_length=0, max_length=None, pattern=""), Text() | OneOf():
            return
        case Text(), Text():
            yield from _text_problems(reader, writer, path)
        case OneOf(values=known), OneOf(values=written):
            if unknown := set(written) - set(known):
                yield f"{path}: the reader does not know {', '.join(sorted(unknown))}"
        case Number(), Number():
            yield from _number_problems(reader, writer, path)
        case Time(zoned=required), Time(zoned=zoned):
            if required and not zoned:
                yield f"{path}: the reader requires an offset from UTC"
        case Boolean(), Boolean():
            return
        case _:
            yield f"{path}: the reader expects {_name(reader)}, and gets {_name(writer)}"


def _object_problems(reader: Object, writer: Object, path: str) -> Iterator[str]:
    for name, field in reader.fields.items():
        here = f"{path}.{name}"
        written = writer.fields.get(name)
        if written is None:
            if isinstance(field.default, UnsetType):
                yield f"{here}: the reader requires it, and the writer does not send it"
            continue
        yield from reading_problems(field.schema, written.schema, here)
        if writer.omits_defaults and not isinstance(written.default, UnsetType):
            if isinstance(field.default, UnsetType):
                yield f"{here}: the reader requires it, and the writer leaves it out if it is {written.default!r}"
            elif field.default != written.default:
                yield f"{here}: the writer leaves out {written.default!r}, which the reader takes for {field.default!r}"


def _list_problems(reader: ListOf | TupleOf, writer: ListOf | TupleOf, path: str) -> Iterator[str]:
    shortest, longest = _lengths(writer)
    allowed_shortest, allowed_longest = _lengths(reader)
    if shortest < allowed_shortest or _exceeds(longest, allowed_longest):
        yield f"{path}: the reader does not allow every length that the writer may send"
    for number in range(max(_positions(reader), _positions(writer), 1)):
        expected, written = _item(reader, number), _item(writer, number)
        if expected is not None and written is not None:
            yield from reading_problems(expected, written, f"{path}[{number}]" if _positions(reader) else f"{path}[]")


def _lengths(schema: ListOf | TupleOf) -> tuple[int, int | None]:
    if isinstance(schema, TupleOf):
        return len(schema.items), len(schema.items)
    return schema.min_length, schema.max_length


def _positions(schema: ListOf | TupleOf) -> int:
    return len(schema.items) if isinstance(schema, TupleOf) else 0


def _item(schema: ListOf | TupleOf, number: int) -> AnySchema | None:
    if isinstance(schema, ListOf):
        return schema.each
    return schema.items[number] if number < len(schema.items) else None


def _number_problems(reader: Number, writer: Number, path: str) -> Iterator[str]:
    if reader.whole and not writer.whole:
        yield f"{path}: the reader expects a whole number"
    too_low = reader.minimum is not None and (writer.minimum is None or writer.minimum < reader.minimum)
    if too_low or _exceeds(writer.maximum, reader.maximum):
        yield f"{path}: the reader does not allow every number that the writer may send"


def _text_problems(reader: Text, writer: Text, path: str) -> Iterator[str]:
    if writer.min_length < reader.min_length or _exceeds(writer.max_length, reader.max_length):
        yield f"{path}: the reader does not allow every length that the writer may send"
    if reader.pattern and reader.pattern != writer.pattern:
        yield f"{path}: the reader requires the pattern {reader.pattern}"


def _exceeds(written: float | None, allowed: float | None) -> bool:
    return allowed is not None and (written is None or written > allowed)


def _name(schema: AnySchema) -> str:
    if isinstance(schema, Number):
        return "a whole number" if schema.whole else "a number"
    return {Object: "an object", OneOf: "one of some texts"}.get(type(schema), f"a {type(schema).__name__.lower()}")
