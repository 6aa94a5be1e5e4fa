"""Model step, generated documents: each is in the overlay as it was generated, and no other one of its kinds is.

The other parts of this step compare what documents mean with the model; this one finds every other edit.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prebook.flows import SERVICES
from prebook.kubernetes.checks.comparison import REMEDY, differing_fields
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import Manifests, Workload, name_of
from prebook.kubernetes.documents import Document, identity, load_documents
from prebook.kubernetes.suite_model import OverlayParts

KUSTOMIZE_KINDS = frozenset({"Kustomization", "Component"})
SHARED_KINDS = frozenset({"PodDisruptionBudget"})
"""Kinds of which some documents are written by hand."""
IGNORED_METADATA = frozenset({"namespace"})


def expected_documents(files: Mapping[str, str], parts: OverlayParts) -> list[dict[str, Any]]:
    """Return the generated documents of an overlay. ``files``: text by path below the folder of the manifests."""
    folders = ["base/services/"]
    folders += ["components/accounts/", "components/network/", "components/topology/"] if parts.has_operators else []
    folders += ["components/autoscaling/"] if parts.has_autoscaling else []
    folders += [] if parts.has_operators else ["overlays/plain/"]
    documents = [
        document
        for path, text in files.items()
        if path.startswith(tuple(folders)) and path.endswith(".yaml")
        for document in load_documents(text)
        if document["kind"] not in KUSTOMIZE_KINDS
    ]
    if parts.has_autoscaling:
        for document in documents:
            if document["kind"] == "Deployment" and name_of(document) in SERVICES:
                del document["spec"]["replicas"]
    return documents


def check_generated(manifests: Manifests, expected: Iterable[Document]) -> Iterator[Finding]:
    """Yield generated documents that are missing or edited, and others of their kinds."""
    wanted = {identity(document): document for document in expected}
    found = {identity(document): document for document in manifests.documents}
    for name in wanted.keys() - found.keys():
        yield Finding(CheckStep.MODEL, name, "it is missing", REMEDY)
    for name in wanted.keys() & found.keys():
        for line in differing_fields(_comparable(wanted[name]), _comparable(found[name])):
            yield Finding(CheckStep.MODEL, name, line, REMEDY)
    kinds = {document["kind"] for document in wanted.values()} - SHARED_KINDS
    for name in found.keys() - wanted.keys():
        if found[name].get("kind") in kinds:
            yield Finding(CheckStep.MODEL, name, "the model does not know it", "remove it")


def _comparable(document: Document) -> dict[str, Any]:
    """Return a document without what an overlay sets: its namespace, and the image of its containers."""
    metadata = document.get("metadata")
    comparable = dict(document)
    if isinstance(metadata, Mapping):
        comparable["metadata"] = {key: value for key, value in metadata.items() if key not in IGNORED_METADATA}
    if Workload(document).containers:
        comparable["spec"] = _without_images(document["spec"])
    return comparable


def _without_images(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_images(item) for key, item in value.items() if key != "image"}
    return [_without_images(item) for item in value] if isinstance(value, list) else value
