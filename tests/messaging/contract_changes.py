"""Generator of contract changes: from a seed, one change of one message at a time, of every kind that people make."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from prebook.messaging.contract_snapshot import MessageContract
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
)

Edit = Callable[[random.Random, Object], Object | None]
"""Changes an object; returns None if the object has nothing to change in this way."""
VALUES: Mapping[type[msgspec.Struct], Any] = {Boolean: True, Number: 1, Text: "x", Time: "2031-05-01T12:00:00Z"}


@dataclass(frozen=True)
class ContractChange:
    """A change of one message. ``kind``: its name in the table of results."""

    kind: str
    message: str
    old: MessageContract
    new: MessageContract


def contract_changes(messages: Mapping[str, MessageContract], seed: int, count: int) -> Iterator[ContractChange]:
    """Yield ``count`` changes; kinds take turns, messages and fields are drawn."""
    source = random.Random(seed)
    kinds = sorted(EDITS)
    made = 0
    while made < count:
        kind = kinds[made % len(kinds)]
        name = source.choice(sorted(messages))
        contract = messages[name]
        if changed := _change(source, contract, kind):
            made += 1
            yield ContractChange(kind, name, contract, changed)


def _change(source: random.Random, contract: MessageContract, kind: str) -> MessageContract | None:
    """Change the newest version in place, or, for one of three changes, as a new version beside it."""
    newest = contract.newest
    edited = _edit_somewhere(source, contract.versions[newest], EDITS[kind])
    if edited is None or edited == contract.versions[newest]:
        return None
    as_version = source.random() < 1 / 3
    if as_version and source.random() < 1 / 4:  # the former versions are forgotten
        return structs.replace(contract, versions={newest + 1: edited})
    return structs.replace(contract, versions={**contract.versions, newest + as_version: edited})


def _edit_somewhere(source: random.Random, whole: Object, edit: Edit) -> Object | None:
    """Edit the object or, half of the time, one inside it."""
    inner = [name for name, field in whole.fields.items() if isinstance(_unwrapped(field.schema), Object)]
    if inner and source.random() < 0.5:
        name = source.choice(inner)
        field = whole.fields[name]
        nested = _unwrapped(field.schema)
        assert isinstance(nested, Object)
        edited = _edit_somewhere(source, nested, edit)
        default = msgspec.UNSET if isinstance(field.default, dict) else field.default  # it had the former fields
        return edited and _with(whole, name, Field(schema=_rewrapped(field.schema, edited), default=default))
    return edit(source, whole)


def _unwrapped(schema: AnySchema) -> AnySchema:
    return schema.value if isinstance(schema, Nullable) else schema


def _rewrapped(schema: AnySchema, inner: AnySchema) -> AnySchema:
    return Nullable(value=inner) if isinstance(schema, Nullable) else inner


def _with(whole: Object, name: str, field: Field) -> Object:
    return structs.replace(whole, fields={**whole.fields, name: field})


def _fields_of(whole: Object, *kinds: type[Any]) -> list[str]:
    return [name for name, field in whole.fields.items() if isinstance(field.schema, kinds)]


def _new_field(source: random.Random, *, required: bool) -> Field:
    schema = source.choice((Number(whole=True), Text(), Boolean()))
    return Field(schema=schema) if required else Field(schema=schema, default=VALUES[type(schema)])


def _without(whole: Object, name: str) -> Object:
    return structs.replace(whole, fields={each: field for each, field in whole.fields.items() if each != name})


def _add_optional(source: random.Random, whole: Object) -> Object:
    return _with(whole, "added", _new_field(source, required=False))


def _add_required(source: random.Random, whole: Object) -> Object:
    return _with(whole, "added", _new_field(source, required=True))


def _remove(source: random.Random, whole: Object) -> Object | None:
    return _without(whole, source.choice(sorted(whole.fields))) if len(whole.fields) > 1 else None


def _rename(source: random.Random, whole: Object) -> Object:
    name = source.choice(sorted(whole.fields))
    return _with(_without(whole, name), f"{name}_renamed", whole.fields[name])


def _change_schema(*kinds: type[Any]) -> Callable[[Callable[[random.Random, Any], AnySchema]], Edit]:
    """Return a decorator that makes an edit of a field of these kinds; its default, if any, is dropped."""

    def decorate(change: Callable[[random.Random, Any], AnySchema]) -> Edit:
        def edit(source: random.Random, whole: Object) -> Object | None:
            names = _fields_of(whole, *kinds)
            if not names:
                return None
            name = source.choice(names)
            return _with(whole, name, Field(schema=change(source, whole.fields[name].schema)))

        return edit

    return decorate


@_change_schema(Number, Text, Time, OneOf, Boolean)
def _retype(source: random.Random, schema: AnySchema) -> AnySchema:
    others: list[AnySchema] = [
        Number(whole=True),
        Number(whole=False),
        Text(),
        Time(),
        Boolean(),
        OneOf(values=("a", "b")),
    ]
    return source.choice([each for each in others if type(each) is not type(schema)])


@_change_schema(Number)
def _narrow(source: random.Random, schema: Number) -> Number:
    low = schema.minimum if schema.minimum is not None else 0
    return structs.replace(schema, minimum=low + source.choice((1, 2)))


@_change_schema(Number)
def _widen(source: random.Random, schema: Number) -> AnySchema:
    del source
    low = schema.minimum if schema.minimum is not None else 0
    return Number(whole=schema.whole, minimum=low - 5, maximum=None)


@_change_schema(Number)
def _change_wholeness(source: random.Random, schema: Number) -> AnySchema:
    del source
    return structs.replace(schema, whole=not schema.whole)


@_change_schema(OneOf)
def _add_value(source: random.Random, schema: OneOf) -> AnySchema:
    del source
    return OneOf(values=(*schema.values, "added"))


@_change_schema(OneOf)
def _remove_value(source: random.Random, schema: OneOf) -> AnySchema:
    return OneOf(values=tuple(each for each in schema.values if each != source.choice(schema.values)) or ("other",))


@_change_schema(OneOf)
def _open_values(source: random.Random, schema: OneOf) -> AnySchema:
    del source, schema
    return Text()


@_change_schema(Text)
def _limit_text(source: random.Random, schema: Text) -> AnySchema:
    return structs.replace(schema, pattern="", max_length=source.choice((2, 5)))


@_change_schema(Number, Text, Time, OneOf, Object, ListOf)
def _allow_null(source: random.Random, schema: AnySchema) -> AnySchema:
    del source
    return Nullable(value=schema)


@_change_schema(Nullable)
def _forbid_null(source: random.Random, schema: Nullable) -> AnySchema:
    del source
    return schema.value


@_change_schema(Number, Text, Object)
def _make_list(source: random.Random, schema: AnySchema) -> AnySchema:
    del source
    return ListOf(each=schema)


@_change_schema(Time)
def _require_offset(source: random.Random, schema: Time) -> AnySchema:
    del source
    return Time(zoned=not schema.zoned)


def _give_default(source: random.Random, whole: Object) -> Object | None:
    names = [name for name in _fields_of(whole, Number, Text) if whole.fields[name].default is msgspec.UNSET]
    if not names:
        return None
    name = source.choice(names)
    schema = whole.fields[name].schema
    value = max(1, int(schema.minimum or 1)) if isinstance(schema, Number) else "EUR"
    return _with(whole, name, structs.replace(whole.fields[name], default=value))


def _change_default(source: random.Random, whole: Object) -> Object | None:
    names = [name for name in _fields_of(whole, Number, Text) if whole.fields[name].default is not msgspec.UNSET]
    if not names:
        return None
    name = source.choice(names)
    value = 7 if isinstance(whole.fields[name].schema, Number) else "CHF"
    return _with(whole, name, structs.replace(whole.fields[name], default=value))


def _omit_defaults(source: random.Random, whole: Object) -> Object | None:
    del source
    if all(field.default is msgspec.UNSET for field in whole.fields.values()):
        return None
    return structs.replace(whole, omits_defaults=not whole.omits_defaults)


def _require_field(source: random.Random, whole: Object) -> Object | None:
    names = [name for name, field in whole.fields.items() if field.default is not msgspec.UNSET]
    if not names:
        return None
    name = source.choice(names)
    return _with(whole, name, Field(schema=whole.fields[name].schema))


EDITS: Mapping[str, Edit] = {
    "add a field with a default": _add_optional,
    "add a required field": _add_required,
    "remove a field": _remove,
    "rename a field": _rename,
    "change a type": _retype,
    "narrow a number": _narrow,
    "widen a number": _widen,
    "whole number or fraction": _change_wholeness,
    "add a value": _add_value,
    "remove a value": _remove_value,
    "values become any text": _open_values,
    "limit a text": _limit_text,
    "allow null": _allow_null,
    "forbid null": _forbid_null,
    "value becomes a list": _make_list,
    "require an offset from UTC": _require_offset,
    "give a default": _give_default,
    "change a default": _change_default,
    "omit defaults": _omit_defaults,
    "require a field": _require_field,
}
"""Edits by kind."""
