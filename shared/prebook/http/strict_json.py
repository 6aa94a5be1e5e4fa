"""Strict decoding of JSON: a field that the type does not have is an error.

The types of ``contracts`` ignore unknown fields, because the receiver of a message may be older than its sender. An
HTTP endpoint refuses them instead, so that nobody relies on a misspelt field. Strictness is thus a property of the
reader, not of the type, which messages and HTTP bodies share.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Fields:
    """JSON object with the fields of a struct; the shape of a field is None if there is no struct in it."""

    struct: type[msgspec.Struct]
    shapes: Mapping[str, "Shape | None"]


@dataclass(frozen=True, slots=True)
class Items:
    """JSON array or object whose values all have one shape."""

    each: "Shape"


Shape = Fields | Items


def decode_strictly(data: bytes, type_: type[T]) -> T:
    """Decode a JSON body of the type.

    Raises msgspec.ValidationError for a body of the wrong shape or with an unknown field, with the text of a msgspec
    type with ``forbid_unknown_fields``; msgspec.DecodeError or UnicodeDecodeError for malformed JSON.
    """
    try:
        decoded = msgspec.json.decode(data, type=type_)
        named = msgspec.json.decode(data)
    except RecursionError:  # no type is nested so deeply: it happens in an unknown field
        raise msgspec.ValidationError("Object is nested too deeply") from None
    for error in _list_unknown_fields(shape_of_struct(type_), named, "$"):
        raise msgspec.ValidationError(error)
    return decoded


@cache
def shape_of_struct(struct: type[msgspec.Struct]) -> Fields:
    """Return the shape of the JSON object that a struct is decoded from."""
    kind = inspect.type_info(struct)
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{struct} is not a struct")
    return _shape_of_fields(kind)


def structs_in(shape: Shape | None) -> Iterator[type[msgspec.Struct]]:
    """Yield the struct of a shape and all those in it."""
    match shape:
        case Fields(struct, shapes):
            yield struct
            for each in shapes.values():
                yield from structs_in(each)
        case Items(each):
            yield from structs_in(each)


def _shape_of_fields(kind: inspect.StructType) -> Fields:
    return Fields(kind.cls, {field.encode_name: _shape_of(field.type) for field in kind.fields})


def _shape_of(kind: inspect.Type) -> Shape | None:
    match kind:
        case inspect.Metadata(type=inner):
            return _shape_of(inner)
        case inspect.StructType():
            return _shape_of_fields(kind)
        case inspect.UnionType(types=types):  # a struct or null: JSON does not tell two structs apart
            return next((shape for shape in map(_shape_of, types) if shape), None)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return _shape_of_items(item)
        case inspect.DictType(value_type=item):
            return _shape_of_items(item)
    return None


def _shape_of_items(item: inspect.Type) -> Items | None:
    shape = _shape_of(item)
    return Items(shape) if shape else None


def _list_unknown_fields(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    match shape, value:
        case Fields(_, shapes), dict():
            for name, inner in value.items():
                if name not in shapes:
                    yield f"Object contains unknown field `{name}`" + ("" if path == "$" else f" - at `{path}`")
                else:
                    yield from _list_unknown_fields(shapes[name], inner, f"{path}.{name}")
        case Items(each), list():
            for number, inner in enumerate(value):
                yield from _list_unknown_fields(each, inner, f"{path}[{number}]")
        case Items(each), dict():
            for inner in value.values():
                yield from _list_unknown_fields(each, inner, f"{path}[...]")
