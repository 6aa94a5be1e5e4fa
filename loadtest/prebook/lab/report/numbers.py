"""Ids of the numbers of a report: the path of each value in report.json, with names in place of positions.

``calm.sync_api.latency_ms.settled.p50`` is the median time to settle of the plan ``sync_api`` in the scenario ``calm``.
The same ids are the anchors of report.html.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from prebook.lab.report.model import CampaignReport

NAME_FIELDS: Mapping[str, str] = {
    "scenarios": "name",
    "results": "label",
    "matrix": "scenario",
    "cells": "label",
    "trade_offs": "label",
}
"""List in the report -> field that names its items; items of other lists are numbered from 0."""
OMITTED = frozenset({"scenarios", "results", "cells"})
"""Lists whose items are named so clearly that an id leaves out the name of the list."""

Value = str | int | float | bool | None


def number_ids(report: CampaignReport) -> dict[str, Value]:
    """Return id -> value of every number and text of a report."""
    return dict(flatten(msgspec.to_builtins(report)))


def flatten(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Value]]:
    """Yield id and value of every leaf of a JSON document."""
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from flatten_child(name, child, path)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for position, child in enumerate(node):
            yield from flatten(child, (*path, str(position)))
    else:
        yield ".".join(path), node


def flatten_child(name: str, child: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
    """Yield the leaves of one field; the items of a list of NAME_FIELDS are called by their names."""
    own_path = path if name in OMITTED else (*path, name)
    if name in NAME_FIELDS and isinstance(child, Sequence):
        child = {item[NAME_FIELDS[name]]: item for item in child}
    yield from flatten(child, own_path)
