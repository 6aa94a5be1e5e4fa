"""Secrets, Services and ports that a cluster has once the manifests are applied, those of operators included."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prebook.kubernetes import names
from prebook.kubernetes.checks.manifests import (
    Manifests,
    name_of,
    read_items,
    read_mapping,
    read_number,
    read_text,
)
from prebook.kubernetes.documents import Document
from prebook.kubernetes.peers import CLUSTER_LABEL

BROKER_USER_KEYS = frozenset(
    {"username", "password", "host", "port", "provider", "type", "connection_string", "default_user.conf"}
)
"""Keys of the Secret of a RabbitmqCluster's administrator. Source: RabbitMQ Cluster Operator documentation."""
DATABASE_OWNER_KEYS = frozenset(
    {"username", "user", "password", "host", "port", "dbname", "pgpass", "uri", "jdbc-uri", "fqdn-uri", "fqdn-jdbc-uri"}
)
"""Keys of the Secret of a database's owner. Source: CloudNativePG documentation, Bootstrap."""
BROKER_PORTS = {"amqp": names.AMQP_PORT, "management": names.MANAGEMENT_PORT, "prometheus": names.BROKER_METRICS_PORT}
DATABASE_PORTS = {"postgresql": names.DATABASE_PORT, "metrics": names.DATABASE_METRICS_PORT}
DATABASE_SERVICES = ("rw", "ro", "r")


@dataclass(frozen=True)
class PodGroup:
    """Pods with these labels and named ports, of a workload or of an operator."""

    name: str
    labels: Mapping[str, str]
    port_names: Mapping[str, int]


def provided_secrets(manifests: Manifests, by_hand: Mapping[str, Sequence[str]]) -> Mapping[str, frozenset[str]]:
    """Return the keys of each Secret by its name. ``by_hand``: Secrets that somebody else creates."""
    secrets = {name: frozenset(keys) for name, keys in by_hand.items()}
    for document in manifests.of_kind("Secret"):
        secrets[name_of(document)] = frozenset({*read_mapping(document, "data"), *read_mapping(document, "stringData")})
    for document in manifests.of_kind("ExternalSecret"):
        target = read_mapping(document, "spec", "target")
        secrets[read_text(target, "name")] = frozenset(read_mapping(target, "template", "data"))
    for name in manifests.named("RabbitmqCluster"):
        secrets[f"{name}-default-user"] = BROKER_USER_KEYS
    for name, document in manifests.named("Cluster").items():
        owner = read_mapping(document, "spec", "bootstrap", "initdb")
        if owner.get("owner") and "secret" not in owner:
            secrets[f"{name}-app"] = DATABASE_OWNER_KEYS
    return secrets


def provided_services(manifests: Manifests) -> Mapping[str, frozenset[int]]:
    """Return the ports of each Service by its name."""
    services = {
        name_of(document): frozenset(read_number(port, "port") for port in read_items(document, "spec", "ports"))
        for document in manifests.of_kind("Service")
    }
    for name in manifests.named("RabbitmqCluster"):
        services[name] = frozenset(BROKER_PORTS.values())
    for name in manifests.named("Cluster"):
        for role in DATABASE_SERVICES:
            services[f"{name}-{role}"] = frozenset({names.DATABASE_PORT})
    return services


def pod_groups(manifests: Manifests) -> Iterator[PodGroup]:
    """Yield the pods of all workloads, and those that operators make."""
    for workload in manifests.workloads:
        yield PodGroup(workload.name, workload.labels, workload.port_names)
    for name in manifests.named("RabbitmqCluster"):
        yield PodGroup(name, {names.NAME_LABEL: name}, BROKER_PORTS)
    for name in manifests.named("Cluster"):
        yield PodGroup(name, {CLUSTER_LABEL: name}, DATABASE_PORTS)


def secret_labels(manifests: Manifests, secret: str) -> Mapping[str, object]:
    """Return the labels of a Secret that is drawn in the cluster."""
    for document in manifests.of_kind("ExternalSecret"):
        target = read_mapping(document, "spec", "target")
        if read_text(target, "name") == secret:
            return read_mapping(target, "template", "metadata", "labels")
    return {}


def secret_value(manifests: Manifests, secret: str, key: str) -> str:
    """Return the template of a key of a Secret that is drawn in the cluster, or an empty text."""
    for document in manifests.of_kind("ExternalSecret"):
        if read_text(document, "spec", "target", "name") == secret:
            return read_text(document, "spec", "target", "template", "data", key)
    return ""


def user_of(manifests: Manifests, user: Document) -> str:
    """Return the name that a User has at the broker: that in its imported Secret."""
    secret = read_text(user, "spec", "importCredentialsSecret", "name")
    return secret_value(manifests, secret, "username")
