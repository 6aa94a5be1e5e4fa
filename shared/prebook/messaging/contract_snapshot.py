"""Snapshot of the contracts: schemas of all versions of all messages, derived from their types.

``compatibility`` compares two of them. HTTP bodies are not in it: each service describes its own in its OpenAPI
document.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, inspect

from prebook.contracts.message import Message
from prebook.contracts.versions import versions_of
from prebook.messaging.body_codec import BODY_TYPES, message_name
from prebook.messaging.claim_checks import receivers_of, sender_of
from prebook.messaging.codec import EXPECTED_BODY_TYPES
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
)


class MessageContract(msgspec.Struct, frozen=True, kw_only=True):
    """Schemas of the versions of a message, by their number, and the services that send and receive it."""

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    versions: Mapping[int, Object]

    @property
    def newest(self) -> int:
        """Number of the version that a sender writes unless it is configured otherwise."""
        return max(self.versions)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts by the name of the message."""

    format: Literal["prebook.contracts/1"] = "prebook.contracts/1"
    messages: Mapping[str, MessageContract]


def current_snapshot() -> Snapshot:
    """Return the contracts of this version of the software."""
    newest = sorted(set(BODY_TYPES.values()), key=message_name)
    return Snapshot(messages={message_name(body): _contract(body) for body in newest})


def _contract(newest: type[Message]) -> MessageContract:
    meant = [(kind, flow) for (kind, flow), bodies in EXPECTED_BODY_TYPES.items() if newest in bodies]
    return MessageContract(
        senders=tuple(sorted({sender_of(kind, flow) for kind, flow in meant})),
        receivers=tuple(sorted({name for kind, flow in meant for name in receivers_of(kind, flow)})),
        versions={number: schema_of(body) for number, body in enumerate(versions_of(newest), 1)},
    )


def schema_of(struct: type[msgspec.Struct]) -> Object:
    """Return the schema of the JSON object that a struct is encoded as. Raises TypeError for a type without schema."""
    kind = inspect.type_info(struct)
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{struct} is not a struct")
    return _object(kind)


def _object(kind: inspect.StructType) -> Object:
    fields = {field.encode_name: Field(schema=_schema(field.type), default=_default(field)) for field in kind.fields}
    return Object(fields=fields, omits_defaults=bool(kind.cls.__struct_config__.omit_defaults))


def _default(field: inspect.Field) -> Any:
    if field.required:
        return UNSET
    made = field.default_factory() if callable(field.default_factory) else field.default
    return msgspec.to_builtins(made)


def _schema(kind: inspect.Type) -> AnySchema:
    make = SCHEMAS.get(type(kind))
    if make is None:
        raise TypeError(f"{kind} has no schema here: use a type of the present messages, or add a schema for it")
    return make(kind)


def _number(kind: inspect.IntType | inspect.FloatType) -> Number:
    return Number(whole=isinstance(kind, inspect.IntType), minimum=_minimum(kind), maximum=_maximum(kind))


def _list(kind: inspect.ListType | inspect.VarTupleType) -> ListOf:
    return ListOf(each=_schema(kind.item_type), min_length=kind.min_length or 0, max_length=kind.max_length)


def _nullable(kind: inspect.UnionType) -> Nullable:
    values = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if len(values) != 1 or len(kind.types) == 1:
        raise TypeError(f"{kind} has no schema here: of unions, only a value or null has one")
    return Nullable(value=_schema(values[0]))


def _minimum(kind: inspect.IntType | inspect.FloatType) -> float | None:
    """Return the smallest number; one that is excluded counts as allowed, as no message excludes one."""
    return kind.ge if kind.ge is not None else kind.gt


def _maximum(kind: inspect.IntType | inspect.FloatType) -> float | None:
    return kind.le if kind.le is not None else kind.lt


SCHEMAS: Mapping[type[inspect.Type], Callable[[Any], AnySchema]] = {
    inspect.Metadata: lambda kind: _schema(kind.type),
    inspect.StructType: _object,
    inspect.BoolType: lambda _: Boolean(),
    inspect.IntType: _number,
    inspect.FloatType: _number,
    inspect.StrType: lambda kind: Text(
        min_length=kind.min_length or 0, max_length=kind.max_length, pattern=kind.pattern or ""
    ),
    inspect.DateTimeType: lambda kind: Time(zoned=bool(kind.tz)),
    inspect.EnumType: lambda kind: OneOf(values=tuple(sorted(str(member.value) for member in kind.cls))),
    inspect.LiteralType: lambda kind: OneOf(values=tuple(sorted(map(str, kind.values)))),
    inspect.ListType: _list,
    inspect.VarTupleType: _list,
    inspect.TupleType: lambda kind: TupleOf(items=tuple(map(_schema, kind.item_types))),
    inspect.UnionType: _nullable,
}
"""Schema of each kind of type."""
