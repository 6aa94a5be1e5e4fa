"""Schema step: each document against the JSON Schema of its kind, all errors, with closed roots."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from prebook.devstack.errors import UserError
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.documents import Document, identity

CORE_FOLDER = "core"
ROOT_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec"})
"""Fields of a custom resource; most schemas leave the root open, so that `specs` would pass."""
KUSTOMIZE_GROUP = "kustomize.config.k8s.io"
METADATA_FIELDS = frozenset({"name", "namespace", "labels", "annotations"})
MAX_MESSAGE_LENGTH = 240
REMEDY = "correct the field; the schema of its kind lists what it may be"


class SchemaFolder:
    """JSON Schemas: ``<group>/<kind>_<version>.json`` for custom resources, and those of core kinds in ``core``."""

    def __init__(self, folder: Path) -> None:
        """Find the core kinds. Raises UserError if the folder holds no schemas."""
        self._folder = folder
        core = sorted((folder / CORE_FOLDER).glob("*.json"))
        if not core:
            problem = f"{folder} has no JSON Schemas: it needs core/<name>.json and <group>/<kind>_<version>.json"
            raise UserError(problem, "set PREBOOK_CRD_SCHEMAS to the folder of the schemas")
        self._core: Mapping[str, Any] = json.loads(core[0].read_text())
        self._validators: dict[str, Any] = {}

    def validator(self, api_version: str, kind: str) -> Any:
        """Return the validator of a kind, or None if there is no schema for it."""
        key = f"{api_version}/{kind}"
        if key not in self._validators:
            schema = self._read(api_version, kind)
            self._validators[key] = None if schema is None else _validator_class()(schema)
        return self._validators[key]

    def _read(self, api_version: str, kind: str) -> Mapping[str, Any] | None:
        if definition := self._core["kinds"].get(f"{api_version}/{kind}"):
            return {"$ref": f"#/$defs/{definition}", "$defs": self._core["$defs"]}
        group, _, version = api_version.rpartition("/")
        path = self._folder / group / f"{kind.lower()}_{version}.json"
        if not group or not path.is_file():
            return None
        schema: Mapping[str, Any] = json.loads(path.read_text())
        return schema

    def is_core(self, api_version: str, kind: str) -> bool:
        """Return whether a kind belongs to Kubernetes itself, whose schemas are closed."""
        return f"{api_version}/{kind}" in self._core["kinds"]


@cache
def read_schema_folder(folder: Path) -> SchemaFolder:
    """Return the schemas of a folder; each is read once. Raises UserError."""
    return SchemaFolder(folder)


def check_schemas(documents: Iterable[Document], schemas: SchemaFolder) -> Iterator[Finding]:
    """Yield every error of every document."""
    for document in documents:
        for problem in _problems(document, schemas):
            yield Finding(CheckStep.SCHEMA, identity(document), problem, REMEDY)


def _problems(document: Document, schemas: SchemaFolder) -> Iterator[str]:
    api_version = str(document.get("apiVersion", ""))
    kind = str(document.get("kind", ""))
    validator = schemas.validator(api_version, kind)
    if validator is None:
        yield f"there is no schema for {kind} of {api_version or 'no apiVersion'}, so it was not checked"
        return
    for error in validator.iter_errors(document):
        yield f"{_field(error.absolute_path)}: {error.message[:MAX_MESSAGE_LENGTH]}"
    yield from (f"{field} is null" for field in _nulls(document))
    if not schemas.is_core(api_version, kind) and not api_version.startswith(KUSTOMIZE_GROUP):
        for name in sorted(document.keys() - ROOT_FIELDS):
            yield f"{name} is no field of a {kind}"
        yield from _metadata_problems(document.get("metadata"))


def _metadata_problems(metadata: Any) -> Iterator[str]:
    """Yield errors of the metadata of a custom resource, which its schema takes for any object."""
    if not isinstance(metadata, Mapping):
        yield "metadata is no mapping"
        return
    for name in sorted(metadata.keys() - METADATA_FIELDS):
        yield f"metadata.{name} is no field that is used here"
    for field in ("labels", "annotations"):
        pairs = metadata.get(field, {})
        if not isinstance(pairs, Mapping) or not all(isinstance(value, str) for value in pairs.values()):
            yield f"metadata.{field} is no mapping of texts"
    if not isinstance(metadata.get("name"), str):
        yield "metadata.name is missing"


def _nulls(value: Any, path: tuple[object, ...] = ()) -> Iterator[str]:
    if value is None:
        yield _field(path)
    elif isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _nulls(item, (*path, key))


def _field(path: Iterable[object]) -> str:
    return ".".join(map(str, path)) or "the document"


@cache
def _validator_class() -> Any:
    """Return the validator of JSON Schema. Raises UserError if its library is not installed."""
    try:
        return import_module("jsonschema").Draft202012Validator
    except ImportError as error:
        raise UserError("jsonschema is not installed", "install it: pip install 'prebook[kubernetes]'") from error
