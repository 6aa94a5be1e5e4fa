"""Check of one overlay: all steps, all findings at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prebook.kubernetes import names
from prebook.kubernetes.checks.broker_model import check_broker_model
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.generated_model import check_generated, expected_documents
from prebook.kubernetes.checks.manifests import Manifests
from prebook.kubernetes.checks.network_model import check_network_model
from prebook.kubernetes.checks.pod_policy import check_pod_policy
from prebook.kubernetes.checks.references import check_references
from prebook.kubernetes.checks.scaling_model import check_partitions, check_secrets_of_files
from prebook.kubernetes.checks.schemas import SchemaFolder, check_schemas
from prebook.kubernetes.checks.server_policy import check_server_policy
from prebook.kubernetes.checks.settings_policy import check_settings_policy
from prebook.kubernetes.checks.surface_policy import check_surface_policy
from prebook.kubernetes.documents import Document
from prebook.kubernetes.generation.files import generated_files
from prebook.kubernetes.rendering.kustomization import CannotRender, kustomization_files, render_overlay
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel
from prebook.topology.values import Topology

DOCUMENTS_BY_HAND: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": (names.SETTINGS, names.COUPLINGS),
    "HTTPRoute": ("booking",),
    "Namespace": (names.NAMESPACE,),
}
"""Names of the documents by hand of every overlay, by kind."""
SERVERS: Mapping[str, tuple[str, ...]] = {
    "RabbitmqCluster": (names.BROKER,),
    "Cluster": (names.DATABASE,),
    "ObjectStore": ("prebook-backup",),
    "ScheduledBackup": (names.DATABASE,),
    "PodMonitor": ("prebook", names.BROKER, names.DATABASE),
    "PrometheusRule": ("prebook",),
}
"""Names of the documents of servers and their monitoring, which need an operator."""


@dataclass(frozen=True)
class CheckContext:
    """Everything that the documents of an overlay are checked against. Without ``schemas``, that step is left out."""

    model: SuiteModel
    parts: OverlayParts
    expected: Sequence[Document]
    """Generated documents of the overlay."""
    schemas: SchemaFolder | None = None


def read_check_context(
    root: Path, model: SuiteModel, parts: OverlayParts, schemas: SchemaFolder | None
) -> CheckContext:
    """Generate what an overlay is checked against. ``root``: folder of the manifests. Raises UserError."""
    return CheckContext(model, parts, expected_documents(generated_files(root, model), parts), schemas)


def check_documents(documents: Iterable[Document], context: CheckContext) -> list[Finding]:
    """Return every finding in the rendered documents of an overlay, sorted."""
    model = context.model
    parts = context.parts
    manifests = Manifests(documents)
    topology = model.broker_topology(parts) if parts.has_operators else Topology()
    steps: list[Iterable[Finding]] = [
        check_schemas(manifests.documents, context.schemas) if context.schemas else (),
        check_references(manifests, model),
        check_broker_model(manifests, topology) if parts.has_operators else _no_topology(manifests),
        check_network_model(manifests, model, parts),
        check_partitions(manifests, model),
        check_secrets_of_files(manifests, parts),
        check_generated(manifests, context.expected),
        check_pod_policy(manifests, model, parts),
        check_server_policy(manifests, model),
        check_surface_policy(manifests, model),
        check_settings_policy(manifests, model),
        _presence_findings(manifests, parts),
    ]
    return sorted({finding for step in steps for finding in step})


def check_overlay(folder: Path, context: CheckContext) -> list[Finding]:
    """Render an overlay and return every finding in it and in its kustomizations, sorted."""
    schemas = context.schemas
    try:
        documents = render_overlay(folder)
        kustomizations = [document for _, document in kustomization_files(folder)] if schemas else []
    except CannotRender as error:
        return [Finding(CheckStep.RENDER, context.parts.name, str(error), "correct the kustomization")]
    found = [*check_schemas(kustomizations, schemas)] if schemas else []
    return sorted([*found, *check_documents(documents, context)])


def _no_topology(manifests: Manifests) -> Iterator[Finding]:
    for document in manifests.documents:
        if str(document.get("apiVersion", "")).startswith("rabbitmq.com/"):
            problem = f"a {document.get('kind')} needs an operator, and setup declares the topology"
            yield Finding(CheckStep.MODEL, "overlay plain", problem, "leave it out")


def _presence_findings(manifests: Manifests, parts: OverlayParts) -> Iterator[Finding]:
    """Yield documents by hand that are missing, or too many; the other steps check only what is there."""
    for kind, expected in {**DOCUMENTS_BY_HAND, **SERVERS}.items():
        wanted = expected if parts.has_operators or kind in DOCUMENTS_BY_HAND else ()
        if (found := sorted(manifests.named(kind))) != sorted(wanted):
            yield Finding(
                CheckStep.MODEL, kind, f"there are {found}; should be {sorted(wanted)}", "correct the overlay"
            )
