"""Transformers of documents: namespace, images, and patches by JSON Patch (RFC 6902). None changes its argument."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prebook.kubernetes.documents import InvalidYaml, load_documents

CLUSTER_SCOPED = frozenset({"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})
CONTAINER_LISTS = frozenset({"containers", "initContainers"})
IMAGE_FIELDS = frozenset({"name", "newName", "newTag", "digest"})
TARGET_FIELDS = frozenset({"kind", "name"})
Json = dict[str, Any]


def set_namespace(document: Json, namespace: str) -> Json:
    """Return the document in the namespace; a Namespace gets its name."""
    field = "name" if document.get("kind") == "Namespace" else "namespace"
    if document.get("kind") in CLUSTER_SCOPED and field != "name":
        return document
    return {**document, "metadata": {**document.get("metadata", {}), field: namespace}}


def set_images(document: Json, images: Sequence[Mapping[str, str]]) -> Json:
    """Return the document with names and tags of its containers' images replaced. Raises ValueError."""
    for image in images:
        if unknown := image.keys() - IMAGE_FIELDS:
            raise ValueError(f"{', '.join(sorted(unknown))} of the image {image.get('name')} is not understood here")
    changed: Json = _with_images(document, images)
    return changed


def apply_patch(patch: Mapping[str, Any], documents: Iterable[Json]) -> list[Json]:
    """Return the documents, with those of the patch's target changed. Raises ValueError, also without a target."""
    target = patch.get("target", {})
    if patch.keys() != {"target", "patch"} or not target.keys() <= TARGET_FIELDS:
        raise ValueError("a patch needs a target of kind and name, and an inline JSON Patch")
    operations = _operations(patch["patch"])
    found = False
    changed = []
    for document in documents:
        if _is_target(document, target):
            found = True
            changed.append(_patched(document, operations))
        else:
            changed.append(document)
    if not found:
        raise ValueError(f"no document is the target {dict(target)} of a patch")
    return changed


def _operations(text: str) -> Sequence[Mapping[str, Any]]:
    try:
        (wrapped,) = load_documents("operations:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
        operations = wrapped["operations"]
    except InvalidYaml:
        operations = None
    if not isinstance(operations, list):
        raise ValueError("only a JSON Patch is understood here: a list of operations")  # noqa: TRY004
    return operations


def _is_target(document: Json, target: Mapping[str, str]) -> bool:
    actual = {"kind": document.get("kind", ""), "name": document.get("metadata", {}).get("name", "")}
    return all(re.fullmatch(pattern, actual[field]) for field, pattern in target.items())


def _patched(document: Json, operations: Sequence[Mapping[str, Any]]) -> Json:
    changed = copy.deepcopy(document)
    for operation in operations:
        *parents, last = [_unescape(step) for step in operation["path"].split("/")[1:]]
        container: Any = changed
        for step in parents:
            container = container[int(step)] if isinstance(container, list) else container[step]
        _apply(operation, container, last)
    return changed


def _apply(operation: Mapping[str, Any], container: Any, last: str) -> None:
    kind = operation["op"]
    if kind == "add" and isinstance(container, list):
        container.insert(len(container) if last == "-" else int(last), copy.deepcopy(operation["value"]))
        return
    key: Any = int(last) if isinstance(container, list) else last
    if kind == "add":
        container[key] = copy.deepcopy(operation["value"])
    elif kind in {"replace", "remove"}:
        if isinstance(container, dict) and key not in container:
            raise ValueError(f"the patch cannot {kind} {operation['path']}, which does not exist")
        if kind == "remove":
            del container[key]
        else:
            container[key] = copy.deepcopy(operation["value"])
    else:
        raise ValueError(f"the operation {kind} of a patch is not understood here")


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _changed_image(reference: str, images: Sequence[Mapping[str, str]]) -> str:
    """Return the reference of a container's image with the changes of the entry for its name, if there is one."""
    name, mark, version = _split_image(reference)
    for image in images:
        if image["name"] == name:
            if "digest" in image:
                mark, version = "@", image["digest"]
            elif "newTag" in image:
                mark, version = ":", image["newTag"]
            return f"{image.get('newName', name)}{mark}{version}"
    return reference


def _split_image(reference: str) -> tuple[str, str, str]:
    """Return name, mark and version: ``registry:5000/app:1.0`` is ``registry:5000/app``, ``:`` and ``1.0``."""
    if "@" in reference:
        return reference.partition("@")
    folder, slash, last = reference.rpartition("/")
    name, mark, tag = last.partition(":")
    return f"{folder}{slash}{name}", mark, tag


def _with_images(value: Any, images: Sequence[Mapping[str, str]], *, is_container: bool = False) -> Any:
    if isinstance(value, list):
        return [_with_images(item, images, is_container=is_container) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _with_images(item, images, is_container=key in CONTAINER_LISTS) for key, item in value.items()}
    if is_container and isinstance(changed.get("image"), str):
        changed["image"] = _changed_image(changed["image"], images)
    return changed
