"""Generator of deploy/kubernetes/schemas: the JSON Schemas of all kinds, without what no manifest uses.

`make kubernetes-schemas CRD_SCHEMAS=<folder>` writes it from complete schemas. Names and types of all fields stay, so
that a misspelt name or a wrong type is found. Below a field that no manifest has, everything is left out, as are
descriptions.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prebook.kubernetes.rendering.kustomization import kustomization_files
from prebook.kubernetes.suite_model import OVERLAYS
from tests.kubernetes.manifests import ROOT, SHIPPED_SCHEMAS, rendered

Schema = dict[str, Any]
CORE = Path("core") / "kubernetes-1.37.json"
CHOICES = ("anyOf", "oneOf", "allOf")
KEPT = frozenset(
    {"type", "enum", "const", "required", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems"}
    | {"maxItems", "minProperties", "maxProperties", "additionalProperties", "exclusiveMinimum", "exclusiveMaximum"}
)
"""Keywords that restrict a value, without those that contain further schemas."""


def used_documents() -> dict[str, list[Mapping[str, Any]]]:
    """Return the documents of all overlays and their kustomizations by ``apiVersion/kind``."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for overlay in OVERLAYS:
        kustomizations = [document for _, document in kustomization_files(ROOT / "overlays" / overlay)]
        for document in (*rendered(overlay), *kustomizations):
            found.setdefault(f"{document['apiVersion']}/{document['kind']}", []).append(document)
    return found


def pruned_files(folder: Path) -> dict[Path, str]:
    """Return the text of every pruned schema by its path, from the complete schemas in ``folder``."""
    core = json.loads((folder / CORE).read_text())
    files: dict[Path, str] = {}
    definitions: dict[str, Schema] = {}
    kinds: dict[str, str] = {}
    for kind, documents in sorted(used_documents().items()):
        if definition := core["kinds"].get(kind):
            kinds[kind] = definition
            definitions[definition] = prune(core["$defs"][definition], documents, core["$defs"])
        else:
            group, version, name = kind.split("/")
            path = Path(group) / f"{name.lower()}_{version}.json"
            schema = json.loads((folder / path).read_text())
            files[path] = _text(prune(schema, documents, {**schema.get("definitions", {}), **schema.get("$defs", {})}))
    files[CORE] = _text({"kinds": kinds, "$defs": definitions})
    return files


def prune(schema: Any, values: Sequence[Any], definitions: Mapping[str, Any]) -> Any:
    """Return the schema as far as one of ``values`` reaches; references are replaced by what they refer to."""
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        return prune(definitions[schema["$ref"].rpartition("/")[2]], values, definitions)
    if not values:
        return {"type": schema["type"]} if "type" in schema else {}
    kept = {key: value for key, value in schema.items() if key in KEPT}
    properties = schema.get("properties", {})
    if properties:
        kept["properties"] = {
            name: prune(below, _values_at(values, name), definitions) for name, below in properties.items()
        }
    if "items" in schema:
        items = [item for value in values if isinstance(value, list) for item in value]
        kept["items"] = prune(schema["items"], items, definitions)
    if isinstance(schema.get("additionalProperties"), Mapping):
        others = [v for value in values if isinstance(value, Mapping) for k, v in value.items() if k not in properties]
        kept["additionalProperties"] = prune(schema["additionalProperties"], others, definitions)
    for choice in CHOICES:
        if choice in schema:
            kept[choice] = [prune(option, values, definitions) for option in schema[choice]]
    return kept


def _values_at(values: Iterable[Any], name: str) -> list[Any]:
    return [value[name] for value in values if isinstance(value, Mapping) and name in value]


def _text(schema: Schema) -> str:
    return json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n"


def main(folder: Path) -> None:
    """Replace the shipped schemas."""
    for path in SHIPPED_SCHEMAS.glob("*/"):
        if path.is_dir():
            shutil.rmtree(path)
    for path, text in pruned_files(folder).items():
        (SHIPPED_SCHEMAS / path).parent.mkdir(parents=True, exist_ok=True)
        (SHIPPED_SCHEMAS / path).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
