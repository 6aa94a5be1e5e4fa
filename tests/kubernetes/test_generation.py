"""Generated manifests: they are those of the model, a difference is named, and little is written by hand."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.cli.kubernetes import kubernetes
from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.kubernetes.cluster import read_cluster_settings
from prebook.kubernetes.documents import HEADER, InvalidYaml, load_documents
from prebook.kubernetes.generation.files import generated_files
from prebook.topology.access import permissions, topic_permissions
from tests.kubernetes.manifests import COUPLINGS, ROOT, suite_model

MAX_LINES_BY_HAND = 600
PASSWORD = re.compile(r"password: *(?!'\{\{)[^{\s]|whsec_|amqp://[^:]+:(?!\{\{)[^@]+@", re.IGNORECASE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the manifests, without secrets that somebody may have drawn."""
    shutil.copytree(ROOT, tmp_path / "kubernetes", ignore=lambda _, names: [n for n in names if n in PROCESSES])
    return tmp_path / "kubernetes"


def generate(root: Path, *options: str) -> tuple[int, str]:
    """Run `prebook kubernetes generate` on ``root``; return exit status and output."""
    arguments = ["generate", "--root", str(root), "--policies", str(COUPLINGS), *options]
    result = CliRunner().invoke(kubernetes, arguments)
    return result.exit_code, result.output


def documents(kind: str) -> list[dict[str, object]]:
    files = generated_files(ROOT, suite_model())
    found = [d for path, text in files.items() if path.endswith(".yaml") for d in load_documents(text)]
    return [document for document in found if document["kind"] == kind]


def test_the_tree_is_as_the_model_says(tree: Path) -> None:
    assert generate(tree, "--check") == (
        0,
        f"{len(generated_files(tree, suite_model()))} files are as the model says\n",
    )


def test_every_difference_is_named_and_nothing_is_written(tree: Path) -> None:
    changed = tree / "components/topology/queues.yaml"
    changed.write_text(changed.read_text().replace("durable: true", "durable: false", 1))
    (tree / "overlays/plain/network.yaml").unlink()
    (tree / "base/services/taxi.yaml").write_text("kind: Deployment\n")
    before = changed.read_text()
    status, output = generate(tree, "--check")
    assert status == 1
    assert output.splitlines() == [
        "base/services/taxi.yaml: is not generated; every file of base/services is",
        "components/topology/queues.yaml: differs from the model",
        "overlays/plain/network.yaml: missing",
        "run `prebook kubernetes generate`, and review the difference",
    ]
    assert changed.read_text() == before
    status, output = generate(tree, "--check", "--json")
    assert (status, len(json.loads(output)["differences"])) == (1, 3)


def test_generating_repairs_every_difference(tree: Path) -> None:
    (tree / "components/topology/queues.yaml").write_text("")
    (tree / "base/services/taxi.yaml").write_text("kind: Deployment\n")
    assert generate(tree)[0] == 0
    assert generate(tree, "--check")[0] == 0
    assert not (tree / "base/services/taxi.yaml").exists()


def test_a_changed_model_changes_the_manifests(tree: Path) -> None:
    cluster = tree / "cluster.toml"
    cluster.write_text(cluster.read_text().replace("max_replicas = 6", "max_replicas = 5"))
    couplings = tree / "couplings.toml"
    couplings.write_text(COUPLINGS.read_text().replace("backoff_s = [0.2, 1.0, 5.0]", "backoff_s = [0.3, 1.0, 5.0]", 1))
    arguments = ["generate", "--check", "--root", str(tree), "--policies", str(couplings)]
    result = CliRunner().invoke(kubernetes, arguments)
    assert result.exit_code == 1
    assert {line.split(":")[0] for line in result.output.splitlines()[:-1]} >= {
        "base/couplings.toml",
        "components/autoscaling/scaled-objects.yaml",
        "components/topology/queues.yaml",
        "components/topology/permissions.yaml",
    }


def test_little_is_written_by_hand() -> None:
    by_hand = [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix in {".yaml", ".toml", ".env"} and not path.read_text().startswith(HEADER)
    ]
    assert len(by_hand) > 10
    assert sum(len(path.read_text().splitlines()) for path in by_hand) <= MAX_LINES_BY_HAND


def test_the_tree_contains_no_secret() -> None:
    files = [path for path in ROOT.rglob("*") if path.suffix in {".yaml", ".toml", ".env"}]
    assert [
        (path.name, line) for path in files for line in path.read_text().splitlines() if PASSWORD.search(line)
    ] == []


def test_values_of_headers_stay_texts() -> None:
    """A headers exchange compares types: a number would match no message, and its slot would go to partition 0."""
    arguments = [binding["spec"]["arguments"] for binding in documents("Binding") if "arguments" in binding["spec"]]  # type: ignore[index,operator]
    assert len(arguments) == 48
    assert {type(value) for pairs in arguments for value in pairs.values()} == {str}


def test_every_element_of_the_model_has_a_resource_of_its_own() -> None:
    topology = suite_model().topology
    expected = {
        "Exchange": len(topology.exchanges),
        "Queue": len(topology.queues),
        "Binding": len(topology.bindings),
        "Policy": len(topology.policies),
        "Permission": len(permissions(topology)) + 1,
        "TopicPermission": len(topic_permissions(topology)),
    }
    names = {kind: [document["metadata"]["name"] for document in documents(kind)] for kind in expected}  # type: ignore[index]
    assert {kind: len(set(found)) for kind, found in names.items()} == expected
    assert [
        name for found in names.values() for name in found if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)
    ] == []


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: [", "- a\n", "x: {a: 1, a: 2}\n"])
def test_a_yaml_file_with_a_duplicate_key_or_without_a_mapping_is_refused(text: str) -> None:
    with pytest.raises(InvalidYaml):
        load_documents(text)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("max_replicas = 6", "max_replicas = 1"), "max_replicas 1 is below min_replicas 2"),
        (("pricing =", "prices ="), "it needs booking, pricing"),
        (('cpu = "450m"', 'cpu = "450"'), r"matching regex"),
        (("[namespaces]", "[spaces]"), "unknown field `spaces`"),
        (('"192.0.2.10/32"', '"broker.example.com"'), "matching regex"),
    ],
)
def test_wrong_cluster_settings_are_refused_with_the_reason(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text((ROOT / "cluster.toml").read_text().replace(*change))
    with pytest.raises(UserError, match=problem):
        read_cluster_settings(path)


def test_the_settings_of_the_tree_are_a_whole() -> None:
    assert msgspec.to_builtins(read_cluster_settings(ROOT / "cluster.toml"))["services"].keys() == set(PROCESSES)
