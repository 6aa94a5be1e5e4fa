"""Mutations of parsed manifests: one change of one field in a copy of the documents of an overlay."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
DELETE = object()
"""New value of a field that is deleted."""


@dataclass(frozen=True)
class Rename:
    """New name of a key."""

    name: str


@dataclass(frozen=True)
class Mutation:
    """A wrong manifest: document by kind and name, path of keys and indices, new value, and the step that finds it."""

    kind: str
    name: str
    path: tuple[str | int, ...]
    value: Any
    step: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} {'.'.join(map(str, self.path))}"

    def apply(self, documents: Sequence[Json]) -> list[Json]:
        """Return the documents with the change. Raises LookupError if there is nothing to change."""
        (number,) = [n for n, d in enumerate(documents) if (d["kind"], d["metadata"]["name"]) == (self.kind, self.name)]
        changed = copy.deepcopy(documents[number])
        *parents, last = self.path
        container: Any = changed
        for step in parents:
            container = container[step]
        before = copy.deepcopy(changed)
        change_field(container, last, self.value)
        if changed == before and repr(changed) == repr(before):
            raise LookupError(f"{self} changes nothing")
        return [*documents[:number], changed, *documents[number + 1 :]]


def change_field(container: Any, field: str | int, value: Any) -> None:
    """Set, rename or delete a field of a mapping or an item of a list."""
    if value is DELETE:
        del container[field]
    elif isinstance(value, Rename):
        container[value.name] = container.pop(field)
    elif isinstance(container, Mapping) or field != "-":
        container[field] = value
    else:
        container.append(value)
