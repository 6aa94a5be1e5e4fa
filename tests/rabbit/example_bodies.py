"""Valid bodies of any message type, made from its fields."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

CODES = ("EUR", "XXX", "AAA")
ZONES = ("2625:670", "0:0", "-12345:-1")
MATCHING_TEXTS = {"A": CODES, "d": ZONES}
"""Texts that match the patterns in use, those of currencies and of zones, by a character of the pattern."""
TEXTS = ("ada", "standard", "confirmed", "rosa", "Zoë Ångström", "e\u0301 \u202eabc", "\u200b", "\U0001f697", "x" * 500)
T = TypeVar("T", bound=msgspec.Struct)


def example_of(body_type: type[T], source: random.Random) -> T:
    """Return an instance with values that the fields' types allow."""
    return msgspec.convert(_value_of(inspect.type_info(body_type), source), body_type)


def _value_of(kind: Any, source: random.Random) -> Any:
    return MAKERS[type(kind)](kind, source)


def _struct(kind: Any, source: random.Random) -> Any:
    return {each.name: _value_of(each.type, source) for each in kind.fields}


def _time(_: Any, source: random.Random) -> datetime:
    return datetime(2031, 5, 1, 12, tzinfo=UTC) + timedelta(minutes=15 * source.randrange(100_000))


def _whole_number(kind: Any, source: random.Random) -> int:
    lowest = kind.ge if kind.ge is not None else 0 if kind.gt is None else kind.gt + 1
    highest = kind.le if kind.le is not None else 100 if kind.lt is None else kind.lt - 1
    return source.randint(lowest, highest)


def _number(kind: Any, source: random.Random) -> float:
    return source.uniform(0.0 if kind.ge is None else kind.ge, 1.0 if kind.le is None else kind.le)


def _text(kind: Any, source: random.Random) -> str:
    if kind.pattern:
        return source.choice(next(texts for mark, texts in MATCHING_TEXTS.items() if mark in kind.pattern))
    return source.choice(TEXTS)[: kind.max_length or 500]


def _items(kind: Any, source: random.Random) -> list[Any]:
    lowest = kind.min_length or 0
    count = source.randint(lowest, max(lowest, min(3, kind.max_length or 3)))
    return [_value_of(kind.item_type, source) for _ in range(count)]


MAKERS: Mapping[type, Callable[[Any, random.Random], Any]] = {
    inspect.Metadata: lambda kind, source: _value_of(kind.type, source),
    inspect.StructType: _struct,
    inspect.UnionType: lambda kind, source: _value_of(source.choice(kind.types), source),
    inspect.NoneType: lambda _, __: None,
    inspect.ListType: _items,
    inspect.VarTupleType: _items,
    inspect.TupleType: lambda kind, source: [_value_of(each, source) for each in kind.item_types],
    inspect.LiteralType: lambda kind, source: source.choice(kind.values),
    inspect.BoolType: lambda _, source: source.random() < 0.5,
    inspect.EnumType: lambda kind, source: source.choice([member.value for member in kind.cls]),
    inspect.DateTimeType: _time,
    inspect.IntType: _whole_number,
    inspect.FloatType: _number,
    inspect.StrType: _text,
}
