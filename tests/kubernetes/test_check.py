"""`prebook kubernetes check`: no false alarm, and every seeded defect is found by the step that is named."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client import REGISTRY, CollectorRegistry

from prebook.cli.kubernetes import kubernetes
from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.image_policy import image_problem
from prebook.kubernetes.checks.metric_names import SUITE_METRICS
from prebook.kubernetes.checks.overlay import check_documents, check_overlay
from prebook.kubernetes.checks.schemas import check_schemas
from prebook.kubernetes.documents import identity
from prebook.kubernetes.drain import max_drain_s
from prebook.kubernetes.quantities import parse_quantity
from prebook.kubernetes.suite_model import AUTOSCALED, OVERLAYS
from prebook.runtime.gauges import BlockedMessageGauges, ProcessMetrics
from tests.conftest import Figure
from tests.kubernetes.defects import further_defects, seeded_defects
from tests.kubernetes.manifests import COUPLINGS, ROOT, SHIPPED_SCHEMAS, context, rendered, schemas
from tests.kubernetes.mutations import Json, Mutation
from tests.kubernetes.random_mutations import random_mutations

MAX_DURATION_S = 20
MUTATIONS = 40
FOUND_BY_HAND = 0.7
DEFECTS = seeded_defects(rendered(AUTOSCALED.name))
FURTHER_DEFECTS = further_defects(rendered(AUTOSCALED.name))


def findings(mutation: Mutation) -> list[Finding]:
    """Return what the check finds in the overlay with the most parts, with one mutation."""
    return check_documents(mutation.apply(rendered(AUTOSCALED.name)), context(AUTOSCALED.name))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_found_in_the_shipped_manifests(overlay: str) -> None:
    found = check_overlay(ROOT / "overlays" / overlay, context(overlay))
    assert [str(finding) for finding in found] == []


def test_there_are_forty_different_defects() -> None:
    assert len({(str(defect), repr(defect.value)) for defect in DEFECTS}) == len(DEFECTS) == 40


@pytest.mark.parametrize("defect", [*DEFECTS, *FURTHER_DEFECTS], ids=str)
def test_a_defect_is_found_by_its_step(defect: Mutation) -> None:
    assert defect.step in {finding.step for finding in findings(defect)}


def test_all_defects_are_found_in_time_and_few_by_schemas_alone(figure: Figure) -> None:
    started = time.process_time()
    found = sum(bool(findings(defect)) for defect in DEFECTS)
    took_s = time.process_time() - started
    by_schemas = sum(bool([*check_schemas(defect.apply(rendered(AUTOSCALED.name)), schemas())]) for defect in DEFECTS)
    figure(f"defects found: {found} of {len(DEFECTS)} in {took_s:.1f} s of CPU time; by schemas alone {by_schemas}")
    assert found == len(DEFECTS)
    assert by_schemas == sum(defect.step == CheckStep.SCHEMA for defect in DEFECTS)
    assert took_s < MAX_DURATION_S


def found_share(documents: list[Json], seed: int) -> float:
    """Return the share of random mutations of these documents that the check finds."""
    mutations = [*changing_mutations(documents, seed)]
    return sum(bool(findings(mutation)) for mutation in mutations) / len(mutations)


def changing_mutations(documents: list[Json], seed: int) -> Iterator[Mutation]:
    for mutation in random_mutations(documents, seed, MUTATIONS):
        with suppress(LookupError):
            mutation.apply(rendered(AUTOSCALED.name))
            yield mutation


def test_every_random_mutation_of_a_generated_document_is_found() -> None:
    generated = {identity(document) for document in context(AUTOSCALED.name).expected}
    documents = [d for d in rendered(AUTOSCALED.name) if identity(d) in generated or d["kind"] == "Secret"]
    assert len(documents) > 300
    assert found_share(documents, seed=1) == 1


def test_most_random_mutations_of_documents_by_hand_are_found() -> None:
    """The others change what is free, such as the text of an alert, or what is as good, such as 20 s instead of 15."""
    generated = {identity(document) for document in context(AUTOSCALED.name).expected}
    documents = [d for d in rendered(AUTOSCALED.name) if identity(d) not in generated and d["kind"] != "Secret"]
    assert {"Cluster", "HTTPRoute", "PrometheusRule", "RabbitmqCluster"} <= {d["kind"] for d in documents}
    assert found_share(documents, seed=2) >= FOUND_BY_HAND


def test_a_missing_document_is_found_whoever_wrote_it() -> None:
    documents = rendered(AUTOSCALED.name)
    generated = {identity(document) for document in context(AUTOSCALED.name).expected}
    by_hand = [n for n, document in enumerate(documents) if identity(document) not in generated]
    chosen = [*by_hand, *range(0, len(documents), 40)]
    missed = [
        identity(documents[n])
        for n in chosen
        if not check_documents([*documents[:n], *documents[n + 1 :]], context(AUTOSCALED.name))
    ]
    assert missed == []


def test_a_check_without_schemas_says_so_and_fails() -> None:
    result = run_check("--overlay", "plain", env={"PREBOOK_CRD_SCHEMAS": ""})
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "plain: no errors"
    assert "not checked: the schemas of the documents; set PREBOOK_CRD_SCHEMAS" in result.output


def test_a_folder_without_schemas_is_refused(tmp_path: Path) -> None:
    result = run_check(env={"PREBOOK_CRD_SCHEMAS": str(tmp_path)})
    assert isinstance(result.exception, UserError)
    assert "has no JSON Schemas" in result.exception.problem


def test_the_command_checks_every_overlay_and_prints_all_errors_at_once(tmp_path: Path) -> None:
    tree = shutil.copytree(ROOT, tmp_path / "kubernetes", ignore=lambda _, names: [n for n in names if n in PROCESSES])
    settings = {"PREBOOK_CRD_SCHEMAS": str(SHIPPED_SCHEMAS)}
    result = run_check("--root", str(tree), env=settings)
    assert (result.exit_code, result.output) == (0, "plain, operators, autoscaled: no errors\n")
    route = tree / "base/routes.yaml"
    route.write_text(
        route.read_text().replace("/v1/trips", "/").replace("name: booking, port: 8000", "name: book, port: 1")
    )
    result = run_check("--root", str(tree), "--json", env=settings)
    found = json.loads(result.output)["findings"]
    assert result.exit_code == 1
    assert {step for overlay in found.values() for step in {f["step"] for f in overlay}} == {"reference", "policy"}
    assert all(finding["remedy"] for overlay in found.values() for finding in overlay)


def test_what_kustomize_has_rendered_can_be_checked() -> None:
    text = yaml.safe_dump_all(rendered("plain"))
    settings = {"PREBOOK_CRD_SCHEMAS": str(SHIPPED_SCHEMAS)}
    assert run_check("--overlay", "plain", "--rendered", "-", input=text, env=settings).exit_code == 0
    wrong = text.replace("registry.example.com/prebook:0.1.0", "registry.example.com/prebook:latest")
    result = run_check("--overlay", "plain", "--rendered", "-", input=wrong, env=settings)
    assert result.exit_code == 1
    assert "has no version; name a version or a digest" in result.output
    assert run_check("--rendered", "-", input=text, env=settings).exit_code == 2


def run_check(*options: str, **arguments: Any) -> Result:
    """Run `prebook kubernetes check` with the shipped policies."""
    return CliRunner().invoke(kubernetes, ["check", "--policies", str(COUPLINGS), *options], **arguments)


def test_alerts_use_metrics_that_the_services_register() -> None:
    for service in PROCESSES:
        import_module(f"prebook.{service}.app")
    registry = CollectorRegistry()
    ProcessMetrics(registry)
    BlockedMessageGauges(registry)
    names = {
        name: metric
        for r in (registry, REGISTRY)
        for metric in r._collector_to_names
        for name in r._collector_to_names[metric]
    }
    registered = {name: tuple(getattr(metric, "_labelnames", ())) for name, metric in names.items()}
    assert {name: registered.get(name) for name in SUITE_METRICS} == dict(SUITE_METRICS)


def test_the_longest_drain_is_the_sum_of_all_timeouts() -> None:
    assert 20 < max_drain_s() <= 55


@pytest.mark.parametrize(
    ("text", "expected"),
    [("400m", 0.4), ("2", 2), (2, 2), ("128Mi", 128 * 1024**2), ("1G", 1e9), ("192MB", None), ("", None), (True, None)],
)
def test_quantities_are_read_as_kubernetes_does(text: object, expected: float | None) -> None:
    assert parse_quantity(text) == expected


@pytest.mark.parametrize(
    ("image", "is_wrong"),
    [
        ("registry:5000/prebook:0.1.0", False),
        ("rabbitmq:4.1.4-management", False),
        ("prebook@sha256:" + "0" * 64, False),
        ("prebook", True),
        ("prebook:latest", True),
        ("registry:5000/prebook", True),
        ("prebook@sha256:0", True),
        ("", True),
    ],
)
def test_an_image_needs_a_version_or_a_digest(image: str, *, is_wrong: bool) -> None:
    assert bool(image_problem(image)) is is_wrong
