"""Every rule of what a tolerant reader can decode."""

import pytest

from prebook.patterns.schema_compatibility import (
    AnySchema,
    Boolean,
    Field,
    ListOf,
    Nullable,
    Number,
    Object,
    OneOf,
    Text,
    Time,
    TupleOf,
    reading_problems,
)

WHOLE = Number(whole=True)
TEXT = Text()


def with_field(**field: object) -> Object:
    return Object(fields={"a": Field(**field)})  # type: ignore[arg-type]


READABLE: dict[str, tuple[AnySchema, AnySchema]] = {
    "the same": (WHOLE, WHOLE),
    "a whole number as a number": (Number(whole=False), WHOLE),
    "wider limits": (Number(whole=True, minimum=0), Number(whole=True, minimum=1, maximum=6)),
    "one of some texts as any text": (TEXT, OneOf(values=("a",))),
    "fewer texts": (OneOf(values=("a", "b")), OneOf(values=("a",))),
    "never null": (Nullable(value=WHOLE), WHOLE),
    "a field that the reader does not have": (Object(fields={}), with_field(schema=WHOLE)),
    "no field that the reader has a default for": (with_field(schema=WHOLE, default=1), Object(fields={})),
    "another default that is always sent": (with_field(schema=WHOLE, default=1), with_field(schema=WHOLE, default=2)),
    "a shorter list": (ListOf(each=WHOLE, max_length=3), ListOf(each=WHOLE, max_length=2)),
    "a pair as a list": (ListOf(each=WHOLE), TupleOf(items=(WHOLE, WHOLE))),
    "a time with an offset": (Time(), Time(zoned=True)),
    "a text of a pattern": (TEXT, Text(pattern="^a$")),
    "true or false": (Boolean(), Boolean()),
}
UNREADABLE: dict[str, tuple[AnySchema, AnySchema, str]] = {
    "a number as a whole number": (WHOLE, Number(whole=False), "$: the reader expects a whole number"),
    "narrower limits": (Number(whole=True, minimum=1), Number(whole=True, minimum=0), "every number"),
    "a limit where there was none": (Number(whole=True, maximum=6), WHOLE, "every number"),
    "any text as one of some texts": (OneOf(values=("a",)), TEXT, "expects one of some texts, and gets a text"),
    "an unknown text": (OneOf(values=("a",)), OneOf(values=("a", "b", "c")), "does not know b, c"),
    "null": (WHOLE, Nullable(value=WHOLE), "may be null"),
    "a text as a number": (WHOLE, TEXT, "expects a whole number, and gets a text"),
    "a missing field": (with_field(schema=WHOLE), Object(fields={}), "$.a: the reader requires it"),
    "a field that is sometimes left out": (
        with_field(schema=WHOLE),
        Object(fields={"a": Field(schema=WHOLE, default=1)}, omits_defaults=True),
        "$.a: the reader requires it, and the writer leaves it out if it is 1",
    ),
    "another default that is left out": (
        with_field(schema=WHOLE, default=2),
        Object(fields={"a": Field(schema=WHOLE, default=1)}, omits_defaults=True),
        "leaves out 1, which the reader takes for 2",
    ),
    "a nested field": (
        with_field(schema=with_field(schema=WHOLE)),
        with_field(schema=with_field(schema=TEXT)),
        "$.a.a: the reader expects",
    ),
    "a longer list": (ListOf(each=WHOLE, max_length=2), ListOf(each=WHOLE), "every length"),
    "a list of another type": (ListOf(each=WHOLE), ListOf(each=TEXT), "$[]: the reader expects"),
    "a list as a pair": (TupleOf(items=(WHOLE, WHOLE)), ListOf(each=WHOLE), "every length"),
    "a time without an offset": (Time(zoned=True), Time(), "offset from UTC"),
    "a time as a text": (TEXT, Time(), "expects a text, and gets a time"),
    "another pattern": (Text(pattern="^a$"), Text(pattern="^b$"), "requires the pattern"),
}


@pytest.mark.parametrize("case", READABLE)
def test_a_reader_can_decode(case: str) -> None:
    reader, writer = READABLE[case]

    assert list(reading_problems(reader, writer)) == []


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_reader_cannot_decode(case: str) -> None:
    reader, writer, text = UNREADABLE[case]
    (problem,) = set(reading_problems(reader, writer))

    assert text in problem
