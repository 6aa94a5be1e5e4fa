"""Peers of network edges: the pods or addresses behind each name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prebook.kubernetes import edges
from prebook.kubernetes.names import BROKER, DATABASE, NAME_LABEL, NAMESPACE, PART_LABEL, PART_OF, WORKLOADS
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel

CLUSTER_LABEL = "cnpg.io/cluster"
BROKER_LABELS = {NAME_LABEL: BROKER}
"""Label that the RabbitMQ Cluster Operator gives its pods."""
DATABASE_LABELS = {CLUSTER_LABEL: DATABASE}
"""Label that CloudNativePG gives its pods."""
ANY_ADDRESS = "0.0.0.0/0"
PRIVATE_RANGES = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Addresses that no callback of a rider may reach: those of the cluster and of its surroundings. Source: RFC 6890."""


@dataclass(frozen=True)
class NetworkPeer:
    """Pods by namespace and labels, or addresses by a block (``cidr``) without some ranges (``excluded``)."""

    namespace: str = NAMESPACE
    labels: Mapping[str, str] = field(default_factory=dict)
    cidr: str = ""
    excluded: tuple[str, ...] = ()


def overlay_peers(model: SuiteModel, parts: OverlayParts) -> Mapping[str, NetworkPeer]:
    """Return the peers of an overlay by name."""
    namespaces = model.cluster.namespaces
    external = model.cluster.external
    servers = (
        {edges.BROKER: NetworkPeer(labels=BROKER_LABELS), edges.DATABASE: NetworkPeer(labels=DATABASE_LABELS)}
        if parts.has_operators
        else {
            edges.BROKER: NetworkPeer(cidr=external.broker_cidr),
            edges.DATABASE: NetworkPeer(cidr=external.database_cidr),
        }
    )
    return {
        **{workload: NetworkPeer(labels={NAME_LABEL: workload}) for workload in WORKLOADS},
        **servers,
        edges.DNS: NetworkPeer("kube-system", {"k8s-app": "kube-dns"}),
        edges.PROMETHEUS: NetworkPeer(namespaces.monitoring, {NAME_LABEL: "prometheus"}),
        edges.GATEWAY: NetworkPeer(namespaces.gateway),
        edges.KEDA: NetworkPeer(namespaces.keda, {"app": "keda-operator"}),
        edges.RABBITMQ_OPERATORS: NetworkPeer(namespaces.rabbitmq_operators, {PART_LABEL: "rabbitmq"}),
        edges.DATABASE_OPERATOR: NetworkPeer(namespaces.database_operator, {NAME_LABEL: "cloudnative-pg"}),
        edges.PUBLIC_HOSTS: NetworkPeer(cidr=ANY_ADDRESS, excluded=PRIVATE_RANGES),
    }


def pods_of_the_suite(parts: OverlayParts) -> tuple[str, ...]:
    """Return the names of the peers that are pods in the suite's namespace."""
    return (*WORKLOADS, edges.BROKER, edges.DATABASE) if parts.has_operators else WORKLOADS


PART_OF_LABELS = {PART_LABEL: PART_OF}
