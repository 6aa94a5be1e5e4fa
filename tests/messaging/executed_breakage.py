"""Breakage that real encoders and decoders show: values of a writer's type, read by a reader's type, in both formats.

The types are made from schemas. A writer and a reader break if a value is refused, or if a field that both know gets
another value.
"""

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Optional

import msgspec
from msgspec import UNSET, Meta

from prebook.messaging.contract_snapshot import MessageContract
from prebook.patterns.schema_compatibility import (
    AnySchema,
    Boolean,
    ListOf,
    Nullable,
    Number,
    Object,
    OneOf,
    Text,
    Time,
    TupleOf,
)
from tests.rabbit.example_bodies import MATCHING_TEXTS

SAMPLES = 60
FAR = 1_000_000_000
"""Number that stands for having no limit."""
LONG = 400
TEXTS = ("", "x", "Zoë", "some text", "x" * LONG)
FORMATS = ((msgspec.json.encode, msgspec.json.decode), (msgspec.msgpack.encode, msgspec.msgpack.decode))


def breaks_backward(old: MessageContract, new: MessageContract, seed: int) -> bool:
    """Return whether new receivers fail with what old senders write, in any of their versions."""
    return any(
        number not in new.versions or breaks(new.versions[number], written, seed)
        for number, written in old.versions.items()
    )


def breaks_forward(old: MessageContract, new: MessageContract, seed: int) -> bool:
    """Return whether old receivers fail with every version that new senders can write."""
    return all(
        number not in old.versions or breaks(old.versions[number], written, seed)
        for number, written in new.versions.items()
    )


def breaks(reader: Object, writer: Object, seed: int) -> bool:
    """Return whether the reader fails with any sample of the writer."""
    source = random.Random(seed)
    reading = _type_of(reader)
    writing = _type_of(writer)
    for _ in range(SAMPLES):
        value = msgspec.convert(_sample(writer, source), writing)
        for encode, decode in FORMATS:
            try:
                decoded = decode(encode(value), type=reading)
            except msgspec.ValidationError:
                return True
            if _differs(msgspec.to_builtins(decoded), msgspec.to_builtins(value)):
                return True
    return False


def _differs(read: Any, written: Any) -> bool:
    """Return whether a field that both have differs."""
    match read, written:
        case dict(), dict():
            return any(_differs(read[name], written[name]) for name in read.keys() & written.keys())
        case ((list() | tuple()), (list() | tuple())):
            return len(read) != len(written) or any(map(_differs, read, written))
    return bool(read != written)


def _type_of(schema: AnySchema) -> Any:  # noqa: PLR0911 - one return for each kind of schema
    match schema:
        case Object():
            return _struct_of(schema)
        case Nullable(value=inner):
            return Optional[_type_of(inner)]  # noqa: UP045 - a type that is made at run time
        case Number(whole=whole, minimum=low, maximum=high):
            cast = int if whole else float
            meta: Any = {name: cast(limit) for name, limit in (("ge", low), ("le", high)) if limit is not None}
            return Annotated[cast, Meta(**meta)]
        case Text(min_length=shortest, max_length=longest, pattern=pattern):
            return Annotated[str, Meta(min_length=shortest, max_length=longest, pattern=pattern or None)]
        case Time(zoned=zoned):
            return Annotated[datetime, Meta(tz=True)] if zoned else datetime
        case OneOf(values=values):
            return Literal[values]
        case ListOf(each=each, min_length=shortest, max_length=longest):
            return Annotated[list[_type_of(each)], Meta(min_length=shortest, max_length=longest)]  # type: ignore[misc]
        case TupleOf(items=items):
            return tuple[tuple(map(_type_of, items))]  # type: ignore[misc]
        case Boolean():
            return bool


def _struct_of(schema: Object) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for name, field in schema.fields.items():
        kind = _type_of(field.schema)
        fields.append((name, kind) if field.default is UNSET else (name, kind, _default(field.default, kind)))
    return msgspec.defstruct("Made", fields, kw_only=True, frozen=True, omit_defaults=schema.omits_defaults)


def _default(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind)


def _sample(schema: AnySchema, source: random.Random) -> Any:  # noqa: PLR0911 - as above
    match schema:
        case Object(fields=fields):
            return {
                name: field.default
                if field.default is not UNSET and source.random() < 0.5
                else _sample(field.schema, source)
                for name, field in fields.items()
            }
        case Nullable(value=inner):
            return None if source.random() < 0.4 else _sample(inner, source)
        case Number():
            return source.choice(list(_numbers(schema, source)))
        case Text():
            return source.choice(list(_texts(schema)))
        case Time(zoned=zoned):
            at = datetime(2031, 5, 1, 12, source.randrange(60), tzinfo=UTC)
            return at if zoned or source.random() < 0.5 else at.replace(tzinfo=None)
        case OneOf(values=values):
            return source.choice(values)
        case ListOf(each=each, min_length=shortest, max_length=longest):
            length = source.choice((shortest, shortest + 1, longest if longest is not None else shortest + 20))
            return [_sample(each, source) for _ in range(length)]
        case TupleOf(items=items):
            return [_sample(each, source) for each in items]
        case Boolean():
            return source.random() < 0.5


def _numbers(schema: Number, source: random.Random) -> Iterator[float]:
    low = int(-FAR if schema.minimum is None else schema.minimum)
    high = int(FAR if schema.maximum is None else schema.maximum)
    yield from (low, high, source.randint(low, high))
    if not schema.whole:
        yield source.uniform(low, high)


def _texts(schema: Text) -> Iterator[str]:
    if schema.pattern:
        yield from next(texts for mark, texts in MATCHING_TEXTS.items() if mark in schema.pattern)
        return
    fitting: Mapping[str, None] = dict.fromkeys(text[: schema.max_length] for text in TEXTS)
    yield from (text for text in fitting if len(text) >= schema.min_length)
