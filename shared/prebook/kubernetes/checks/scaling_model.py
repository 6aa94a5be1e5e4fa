"""Model step, replicas and Secrets: no replica without a partition, and the Secrets of files have the model's keys."""

from collections.abc import Iterator

from prebook.flows import SERVICES
from prebook.kubernetes.checks.comparison import REMEDY, differing_fields
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import Manifests, name_of, read_number, read_value
from prebook.kubernetes.generation.accounts import secrets_from_files
from prebook.kubernetes.scaling import max_useful_replicas
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel


def check_partitions(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield services that may get more replicas than they have partitions."""
    for document in manifests.of_kind("ScaledObject", "Deployment"):
        service = name_of(document)
        limit = max_useful_replicas(service, model.policies) if service in SERVICES else None
        replicas = max(read_number(document, "spec", field) for field in ("maxReplicaCount", "replicas"))
        if limit and replicas > limit:
            problem = f"{replicas} replicas share the {limit} partitions of {service}: the others would have no work"
            yield Finding(CheckStep.MODEL, f"{document['kind']}/{service}", problem, "lower it in cluster.toml")


def check_secrets_of_files(manifests: Manifests, parts: OverlayParts) -> Iterator[Finding]:
    """Yield Secrets of files that differ from those of the model, by name, type and keys."""
    expected = secrets_from_files(services_only=parts.has_operators)["secretGenerator"]
    wanted = {
        entry["name"]: {"type": "Opaque", "keys": sorted(file.rpartition("/")[2] for file in entry["files"])}
        for entry in expected
    }
    found = {
        name_of(secret): {"type": read_value(secret, "type"), "keys": sorted(map(str, secret.get("data") or ()))}
        for secret in manifests.of_kind("Secret")
    }
    for line in differing_fields(wanted, found):
        yield Finding(CheckStep.MODEL, "Secrets of files", line, REMEDY)
