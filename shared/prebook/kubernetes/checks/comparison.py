"""Comparison of values with those of the model, field by field and with types: ``4`` and ``"4"`` differ."""

from collections.abc import Iterator, Mapping
from typing import Any

REMEDY = "run `prebook kubernetes generate`; what it writes is not edited by hand"


def differing_fields(expected: Any, actual: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield one line for each difference of two values. A mapping with a misspelt key gives two."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            yield from differing_fields(expected.get(key), actual.get(key), (*path, str(key)))
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for number, (wanted, found) in enumerate(zip(expected, actual, strict=True)):
            yield from differing_fields(wanted, found, (*path, str(number)))
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{'.'.join(path)} is {_shown(actual)}; should be {_shown(expected)}"


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)
