"""Rendering of an overlay: resources, components, generators and transformers, as `kubectl kustomize` does it.

Only what the manifests use is understood, and everything else is refused. tests/kubernetes/test_rendering.py compares
the result with Kustomize's own. Source: Kustomize documentation, kustomization file.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prebook.kubernetes.documents import InvalidYaml, identity, load_documents
from prebook.kubernetes.rendering.generators import generated_config_maps, generated_secrets
from prebook.kubernetes.rendering.transformers import apply_patch, set_images, set_namespace
from prebook.text_file import read_text

FILE_NAME = "kustomization.yaml"
KUSTOMIZATION = "Kustomization"
COMPONENT = "Component"
KNOWN_FIELDS = frozenset(
    {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}
    | {"generatorOptions", "configMapGenerator", "secretGenerator"}
)
GENERATOR_OPTIONS = {"disableNameSuffixHash": True}
Documents = list[dict[str, Any]]


class CannotRender(Exception):
    """An overlay is wrong, or uses a part of Kustomize that is not understood here."""


def render_overlay(folder: Path) -> Documents:
    """Return the documents of an overlay. Values of Secrets are left out. Raises CannotRender."""
    documents = _accumulate(folder.resolve(), [], KUSTOMIZATION)
    counts = Counter((d.get("apiVersion"), identity(d), d.get("metadata", {}).get("namespace")) for d in documents)
    if twice := [name for (_, name, _), count in counts.items() if count > 1]:
        raise CannotRender(f"{folder}: {', '.join(twice)} occurs twice; remove one")
    return documents


def kustomization_files(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return path and content of the kustomization of an overlay and of all that it includes. Raises CannotRender."""
    kustomization = _read_kustomization(folder)
    found = [(folder / FILE_NAME, kustomization)]
    for entry in (*kustomization.get("resources", ()), *kustomization.get("components", ())):
        if (folder / entry).is_dir():
            found += kustomization_files((folder / entry).resolve())
    return found


def _accumulate(folder: Path, documents: Documents, kind: str) -> Documents:
    """Return ``documents`` with those of a kustomization; a component transforms the former, too."""
    kustomization = _read_kustomization(folder)
    if kustomization["kind"] != kind:
        raise CannotRender(f"{folder / FILE_NAME}: it is a {kustomization['kind']}, and is used as a {kind}")
    documents = [*documents]
    for entry in kustomization.get("resources", ()):
        path = folder / entry
        documents += _accumulate(path.resolve(), [], KUSTOMIZATION) if path.is_dir() else _read_resources(folder, entry)
    for entry in kustomization.get("components", ()):
        documents = _accumulate((folder / entry).resolve(), documents, COMPONENT)
    try:
        documents += generated_config_maps(folder, kustomization.get("configMapGenerator", ()))
        documents += generated_secrets(kustomization.get("secretGenerator", ()))
        return _transform(kustomization, documents)
    except (OSError, ValueError, InvalidYaml) as error:
        raise CannotRender(f"{folder / FILE_NAME}: {error}") from error


def _transform(kustomization: Mapping[str, Any], documents: Iterable[dict[str, Any]]) -> Documents:
    documents = [*documents]
    for patch in kustomization.get("patches", ()):
        documents = apply_patch(patch, documents)
    if namespace := kustomization.get("namespace"):
        documents = [set_namespace(document, namespace) for document in documents]
    return [set_images(document, kustomization.get("images", ())) for document in documents]


def _read_kustomization(folder: Path) -> dict[str, Any]:
    path = folder / FILE_NAME
    try:
        (kustomization,) = load_documents(read_text(path))
    except (OSError, InvalidYaml, ValueError) as error:
        raise CannotRender(f"{path}: {error}") from error
    if unknown := kustomization.keys() - KNOWN_FIELDS:
        raise CannotRender(f"{path}: {', '.join(sorted(unknown))} is not understood here; write it without")
    has_generator = "configMapGenerator" in kustomization or "secretGenerator" in kustomization
    if has_generator and kustomization.get("generatorOptions") != GENERATOR_OPTIONS:
        raise CannotRender(f"{path}: generatorOptions must be {GENERATOR_OPTIONS}, so that names stay as they are")
    return {"kind": KUSTOMIZATION, **kustomization}


def _read_resources(folder: Path, entry: str) -> Documents:
    path = (folder / entry).resolve()
    if not path.is_relative_to(folder):
        raise CannotRender(f"{folder / FILE_NAME}: {entry} is outside of its folder, which Kustomize refuses")
    try:
        return load_documents(read_text(path))
    except (OSError, InvalidYaml) as error:
        raise CannotRender(f"{path}: {error}") from error
