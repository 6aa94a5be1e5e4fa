"""NetworkPolicies: a default that denies everything, and one policy for each workload with its edges."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from prebook.kubernetes import edges
from prebook.kubernetes.documents import Document
from prebook.kubernetes.edges import Edge, PortRange, network_edges
from prebook.kubernetes.names import NAMESPACE, NAMESPACE_LABEL, WORKLOADS
from prebook.kubernetes.peers import PART_OF_LABELS, NetworkPeer, overlay_peers, pods_of_the_suite
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel

DEFAULT_DENY = "default-deny"
Peers = Mapping[str, NetworkPeer]


def network_policies(model: SuiteModel, parts: OverlayParts) -> list[Document]:
    """Return the policies of an overlay. Egress of broker and database belongs to their operators."""
    all_edges = network_edges(model, parts)
    peers = overlay_peers(model, parts)
    both = ("Ingress", "Egress")
    return [
        _policy(DEFAULT_DENY, PART_OF_LABELS, both),
        *(
            _policy(
                name,
                peers[name].labels,
                both if name in WORKLOADS else ("Ingress",),
                ingress=_rules("from", [(e.source, e.ports) for e in all_edges if e.target == name], peers),
                egress=_rules("to", [(e.target, e.ports) for e in all_edges if e.source == name], peers)
                if name in WORKLOADS
                else (),
            )
            for name in pods_of_the_suite(parts)
        ),
    ]


def additional_ingress(name: str, target: str, additional: Iterable[Edge], peers: Peers) -> Document:
    """Return a policy that adds edges to those of other policies of the same pods."""
    sources = [(edge.source, edge.ports) for edge in additional if edge.target == target]
    return _policy(name, peers[target].labels, ("Ingress",), ingress=_rules("from", sources, peers))


def _policy(
    name: str,
    labels: Mapping[str, str],
    types: tuple[str, ...],
    *,
    ingress: Iterable[Document] = (),
    egress: Iterable[Document] = (),
) -> Document:
    rules = {"ingress": list(ingress), "egress": list(egress)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": dict(labels)},
            "policyTypes": list(types),
            **{direction: rule for direction, rule in rules.items() if rule},
        },
    }


def _rules(direction: str, others: Iterable[tuple[str, PortRange]], peers: Peers) -> list[Document]:
    """Return one rule for each set of ports, with all peers that have exactly these."""
    ports_by_name: dict[str, set[PortRange]] = defaultdict(set)
    for name, ports in others:
        ports_by_name[name].add(ports)
    names_by_ports: dict[tuple[PortRange, ...], list[str]] = defaultdict(list)
    for name in sorted(ports_by_name):
        names_by_ports[tuple(sorted(ports_by_name[name]))].append(name)
    return [
        {direction: [_peer(peers[name]) for name in names], "ports": [_port(port) for port in ports]}
        for ports, names in sorted(names_by_ports.items())
    ]


def _peer(peer: NetworkPeer) -> Document:
    if peer.cidr:
        excluded = {"except": list(peer.excluded)} if peer.excluded else {}
        return {"ipBlock": {"cidr": peer.cidr, **excluded}}
    pods: dict[str, Any] = {"podSelector": {"matchLabels": dict(peer.labels)}} if peer.labels else {}
    if peer.namespace == NAMESPACE:
        return pods
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: peer.namespace}}, **pods}


def _port(ports: PortRange) -> Document:
    end = {"endPort": ports.last} if ports.last != ports.first else {}
    return {"port": ports.first, **end, "protocol": ports.protocol}


def broker_from_keda(model: SuiteModel, parts: OverlayParts) -> Document:
    """Return the policy that lets KEDA read lengths of queues."""
    additional = [edge for edge in network_edges(model, parts) if edge.source == edges.KEDA]
    return additional_ingress("broker-from-keda", edges.BROKER, additional, overlay_peers(model, parts))
