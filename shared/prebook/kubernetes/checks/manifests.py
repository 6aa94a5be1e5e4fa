"""Documents of an overlay by kind and name, and reading of fields that may be missing or of a wrong type.

A wrong type is the schema's finding; the other steps read it as missing and go on.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prebook.kubernetes.documents import Document, identity

Selector = Mapping[str, Any]
NOTHING: Mapping[str, Any] = {}
POD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def read_value(value: Any, *path: str) -> Any:
    """Return what is at a path of keys, or None."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def read_mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path, or an empty one."""
    found = read_value(value, *path)
    return found if isinstance(found, Mapping) else NOTHING


def read_items(value: Any, *path: str) -> Sequence[Mapping[str, Any]]:
    """Return the mappings of the list at a path, or nothing."""
    found = read_value(value, *path)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else ()


def read_text(value: Any, *path: str) -> str:
    """Return the text at a path, or an empty one."""
    found = read_value(value, *path)
    return found if isinstance(found, str) else ""


def read_number(value: Any, *path: str) -> int:
    """Return the whole number at a path, or 0."""
    found = read_value(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def read_texts(value: Any, *path: str) -> Sequence[str]:
    """Return the texts of the list at a path, or nothing."""
    found = read_value(value, *path)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else ()


def name_of(document: Document) -> str:
    """Return the name of a document, or an empty text."""
    return read_text(document, "metadata", "name")


def selects(selector: Selector, labels: Mapping[str, Any]) -> bool:
    """Return whether a label selector selects what has these labels. An empty one selects everything."""
    pairs = read_mapping(selector, "matchLabels").items()
    return pairs <= labels.items() and all(
        _matches_expression(expression, labels) for expression in read_items(selector, "matchExpressions")
    )


def _matches_expression(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key = read_text(expression, "key")
    values = read_texts(expression, "values")
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(read_text(expression, "operator"), False)


@dataclass(frozen=True)
class Workload:
    """A Deployment or another document with a pod template."""

    document: Document

    @property
    def identity(self) -> str:
        """Kind and name, for messages."""
        return identity(self.document)

    @property
    def name(self) -> str:
        """Name of the document."""
        return name_of(self.document)

    @property
    def labels(self) -> Mapping[str, Any]:
        """Labels of its pods."""
        return read_mapping(self.document, "spec", "template", "metadata", "labels")

    @property
    def pod(self) -> Mapping[str, Any]:
        """Specification of its pods."""
        return read_mapping(self.document, "spec", "template", "spec")

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """Containers of a pod, those of its start included."""
        return [*read_items(self.pod, "initContainers"), *read_items(self.pod, "containers")]

    @property
    def port_names(self) -> Mapping[str, int]:
        """Number of each named port of its containers."""
        ports = [port for container in self.containers for port in read_items(container, "ports")]
        return {read_text(port, "name"): read_number(port, "containerPort") for port in ports if port.get("name")}


class Manifests:
    """Rendered documents of an overlay."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = [*documents]

    @cached_property
    def _by_kind(self) -> Mapping[str, Sequence[Document]]:
        found: dict[str, list[Document]] = defaultdict(list)
        for document in self.documents:
            found[read_text(document, "kind")].append(document)
        return found

    def of_kind(self, *kinds: str) -> Sequence[Document]:
        """Return the documents of these kinds."""
        return [document for kind in kinds for document in self._by_kind.get(kind, ())]

    def named(self, kind: str) -> Mapping[str, Document]:
        """Return the documents of a kind by name."""
        return {name_of(document): document for document in self.of_kind(kind)}

    @cached_property
    def workloads(self) -> Sequence[Workload]:
        """Documents with a pod template."""
        return [Workload(document) for document in self.of_kind(*POD_KINDS)]

    def selected(self, selector: Selector) -> Sequence[Workload]:
        """Return the workloads whose pods a selector selects."""
        return [workload for workload in self.workloads if selects(selector, workload.labels)]


def walk_mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping inside of a value, the value included."""
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from walk_mappings(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk_mappings(item)
