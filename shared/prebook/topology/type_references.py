"""Types that a type hint refers to, at any depth: through unions, containers, structs and dataclasses."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

UNTYPED = (Any, object)
"""Hints that say nothing about the type."""


def result_hint(function: Callable[..., Any]) -> Any:
    """Return the type hint of what ``function`` returns; Any if it has none."""
    return get_type_hints(function, include_extras=True).get("return", Any)


def first_parameter_hint(function: Callable[..., Any]) -> Any:
    """Return the type hint of the first parameter of ``function``; Any if it has none."""
    first = next(iter(inspect.signature(function).parameters), "")
    return get_type_hints(function, include_extras=True).get(first, Any)


def referenced_types(hints: Iterable[Any]) -> frozenset[type]:
    """Return all classes that ``hints`` refer to."""
    found: set[type] = set()
    waiting = list(hints)
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and get_origin(hint) is None:
            if hint in found:
                continue
            found.add(hint)
        waiting.extend(_next_hints(hint))
    return frozenset(found)


def _next_hints(hint: Any) -> Iterator[Any]:
    yield from (each for each in get_args(hint) if not isinstance(each, str | bytes | int | msgspec.Meta))
    if (origin := get_origin(hint)) is not None:
        yield origin
    elif isinstance(hint, TypeVar):
        yield from (*hint.__constraints__, *filter(None, [hint.__bound__]))
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield from (each.type for each in msgspec.structs.fields(hint))
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield from get_type_hints(hint, include_extras=True).values()
