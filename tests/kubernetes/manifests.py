"""The manifests of this checkout, the model that they follow from, and the schemas of their kinds."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from prebook.kubernetes.checks.overlay import CheckContext, read_check_context
from prebook.kubernetes.checks.schemas import SchemaFolder, read_schema_folder
from prebook.kubernetes.rendering.kustomization import render_overlay
from prebook.kubernetes.suite_model import OVERLAYS, SuiteModel, read_suite_model
from prebook.runtime.paths import kubernetes_dir

ROOT = kubernetes_dir()
COUPLINGS = ROOT.parent / "couplings.toml"
SHIPPED_SCHEMAS = ROOT / "schemas"


@cache
def suite_model() -> SuiteModel:
    """Return the model of the shipped policies and of the shipped cluster.toml."""
    return read_suite_model(COUPLINGS, ROOT / "cluster.toml")


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """Return the documents of an overlay; do not change them."""
    return render_overlay(ROOT / "overlays" / overlay)


def schemas() -> SchemaFolder:
    """Return the schemas of PREBOOK_CRD_SCHEMAS, or those of this checkout."""
    return read_schema_folder(Path(os.environ.get("PREBOOK_CRD_SCHEMAS") or SHIPPED_SCHEMAS))


@cache
def context(overlay: str) -> CheckContext:
    """Return what the documents of an overlay are checked against, with the schemas."""
    return read_check_context(ROOT, suite_model(), OVERLAYS[overlay], schemas())


def find_document(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the document of this kind and name."""
    (found,) = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found
