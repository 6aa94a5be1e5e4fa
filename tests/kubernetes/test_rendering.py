"""Rendering: the same documents as Kustomize's, and a refusal of everything that is not understood."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prebook.kubernetes.documents import load_documents, without_secret_values
from prebook.kubernetes.generation.accounts import secrets_from_files
from prebook.kubernetes.rendering.kustomization import CannotRender, render_overlay
from prebook.kubernetes.suite_model import OVERLAYS
from tests.kubernetes.manifests import ROOT

EXAMPLE = Path(__file__).parent / "kustomize_example"
TIMEOUT_S = 60
OVERLAY = "overlay/kustomization.yaml"
COMPONENT = "component/kustomization.yaml"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example, to be changed."""
    return shutil.copytree(EXAMPLE, tmp_path / "example")


def by_identity(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return documents by kind and name, without the values of Secrets: their order means nothing."""
    found = {(d["kind"], d["metadata"]["name"]): without_secret_values(d) for d in documents}
    assert len(found) == len(documents)
    return found


def test_the_example_is_rendered_as_kustomize_does() -> None:
    """`kubectl kustomize overlay`, Kustomize 5.5.0, wrote expected.yaml."""
    expected = load_documents((EXAMPLE / "expected.yaml").read_text())
    assert by_identity(render_overlay(EXAMPLE / "overlay")) == by_identity(expected)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl to compare with")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_rendered_as_kubectl_does(overlay: str, tmp_path: Path) -> None:
    tree = tmp_path / "kubernetes"
    shutil.copytree(ROOT, tree)
    for name, services_only in (("plain", False), ("operators", True)):
        for entry in secrets_from_files(services_only=services_only)["secretGenerator"]:
            for file in entry["files"]:
                path = tree / "overlays" / name / "secrets" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_text("not a secret")
    command = ["kubectl", "kustomize", str(tree / "overlays" / overlay)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert result.returncode == 0, result.stderr
    assert by_identity(render_overlay(tree / "overlays" / overlay)) == by_identity(load_documents(result.stdout))


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        (OVERLAY, ("namespace: example", "namePrefix: a-"), "namePrefix is not understood here"),
        (OVERLAY, ("- ../base", "- ../base\n  - ../component/job.yaml"), "outside of its folder"),
        (OVERLAY, ("- ../base", "- ../missing"), "outside of its folder"),
        (OVERLAY, ("- ../base", "- missing.yaml"), "missing.yaml"),
        (OVERLAY, ("  - ../component", "  - ../base"), "it is a Kustomization, and is used as a Component"),
        (OVERLAY, ("newTag: 1.2.3", "tagSuffix: x"), "tagSuffix of the image app is not understood"),
        ("base/kustomization.yaml", ("  - namespace.yaml", "  - namespace.yaml\n  - namespace.yaml"), "occurs twice"),
        ("base/kustomization.yaml", ("disableNameSuffixHash: true", "labels: {}"), "generatorOptions must be"),
        ("base/kustomization.yaml", ("files: [plan.toml]", "files: [../overlay/x]"), "outside of its folder"),
        ("base/kustomization.yaml", ("files: [plan.toml]", "behavior: merge"), "behavior of the generator settings"),
        ("base/kustomization.yaml", ("EMPTY=", "EMPTY"), "'EMPTY' is no name=value"),
        ("base/workload.yaml", ("replicas: 2", "replicas: 2\n  replicas: 3"), "a key occurs twice"),
        ("base/namespace.yaml", ("kind: Namespace", "kind: ["), "base/namespace.yaml"),
        (COMPONENT, ("name: web}", "name: shop}"), "no document is the target"),
        (COMPONENT, ("/spec/replicas", "/spec/replica"), "cannot remove /spec/replica, which does not exist"),
        (COMPONENT, ('"op": "remove"', '"op": "move"'), "operation move"),
        (COMPONENT, ("'[{", "'{"), "only a JSON Patch is understood"),
    ],
)
def test_what_is_wrong_or_not_understood_is_refused(
    example: Path, file: str, change: tuple[str, str], problem: str
) -> None:
    path = example / file
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(CannotRender, match=problem):
        render_overlay(example / "overlay")


def test_the_values_of_secrets_are_not_read() -> None:
    secrets = [d for d in render_overlay(EXAMPLE / "overlay") if d["kind"] == "Secret"]
    assert [secret["data"] for secret in secrets] == [{"key": "", "other": ""}]
