"""Model step, network: the connections that the policies allow equal the model's edges, at each end by itself.

A connection needs the consent of both ends, so that one end that is too wide hides behind the other one's refusal until
that is widened, too. Source: Kubernetes documentation, Network Policies.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import (
    Manifests,
    read_items,
    read_mapping,
    read_number,
    read_text,
    read_texts,
    read_value,
    selects,
)
from prebook.kubernetes.documents import identity
from prebook.kubernetes.edges import TCP, UDP, Edge, network_edges
from prebook.kubernetes.names import NAME_LABEL, NAMESPACE, NAMESPACE_LABEL, SETUP, WORKLOADS
from prebook.kubernetes.peers import PART_OF_LABELS, NetworkPeer, overlay_peers, pods_of_the_suite
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel

REMEDY = "run `prebook kubernetes generate`, or correct the model"
INGRESS = "Ingress"
EGRESS = "Egress"
FURTHER_PORTS = (1, 80, 443, 8080, 9000, 65535)
PROTOCOLS = (TCP, UDP, "SCTP")
OTHER_POD_OF_THE_SUITE = "another pod of the suite"
STRANGERS: Mapping[str, NetworkPeer] = {
    OTHER_POD_OF_THE_SUITE: NetworkPeer(labels=PART_OF_LABELS),
    "another pod of the namespace": NetworkPeer(labels={NAME_LABEL: "stranger"}),
    "a pod of another namespace": NetworkPeer("default", {NAME_LABEL: "stranger"}),
    "an address of the cluster's surroundings": NetworkPeer(cidr="10.11.12.13/32"),
    "a public address": NetworkPeer(cidr="203.0.113.99/32"),
}
"""Peers to which no edge of the model leads."""


@dataclass(frozen=True, order=True)
class _Connection:
    """Connection that one end allows. ``port``: one of the ports that are tried."""

    source: str
    target: str
    protocol: str
    port: int


def check_network_model(manifests: Manifests, model: SuiteModel, parts: OverlayParts) -> Iterator[Finding]:
    """Yield every connection that an end allows beyond the model, or that it refuses in spite of the model."""
    policies = manifests.of_kind("NetworkPolicy")
    edges = network_edges(model, parts)
    known = _with_actual_labels(overlay_peers(model, parts), manifests)
    peers = {**known, **STRANGERS, **_similar_strangers(known)}
    ports = _tried_ports(policies, edges)
    for policy in policies:
        if unknown := {*read_texts(policy, "spec", "policyTypes")} - {INGRESS, EGRESS}:
            problem = f"there is no type {', '.join(sorted(unknown))}"
            yield Finding(CheckStep.MODEL, identity(policy), problem, f"use {INGRESS} and {EGRESS}")
    for name in (*pods_of_the_suite(parts), OTHER_POD_OF_THE_SUITE):
        pod = peers[name]
        for direction in (INGRESS, EGRESS) if name in WORKLOADS or name == OTHER_POD_OF_THE_SUITE else (INGRESS,):
            own = [p for p in policies if _applies(p, pod, direction)]
            if not own:
                problem = f"no policy restricts its {direction.lower()}"
                yield Finding(CheckStep.MODEL, f"network of {name}", problem, "add the policies that are generated")
                continue
            allowed = {
                _Connection(*((other, name) if direction == INGRESS else (name, other)), protocol, port)
                for other, peer in peers.items()
                for protocol, port in _allowed_ports(own, direction, peer, ports)
            }
            end = name
            expected = {
                _Connection(edge.source, edge.target, edge.ports.protocol, port)
                for edge in edges
                if end == (edge.target if direction == INGRESS else edge.source)
                for port in ports
                if edge.ports.first <= port <= edge.ports.last
            }
            yield from _differences(name, direction, allowed, _with_contained_addresses(expected, peers))


def _with_actual_labels(peers: Mapping[str, NetworkPeer], manifests: Manifests) -> dict[str, NetworkPeer]:
    """Return the peers; the pods of the workloads with the labels that they have in the manifests."""
    labels = {SETUP if w.document["kind"] == "Job" else w.name: w.labels for w in manifests.workloads}
    return {n: NetworkPeer(p.namespace, labels[n]) if n in labels else p for n, p in peers.items()}


def _similar_strangers(peers: Mapping[str, NetworkPeer]) -> dict[str, NetworkPeer]:
    """Return pods with the labels of a peer in another namespace, and other pods of the peers' namespaces."""
    pods = {name: peer for name, peer in peers.items() if not peer.cidr}
    namesakes = {
        f"a pod like {name} in another namespace": NetworkPeer("default", peer.labels)
        for name, peer in pods.items()
        if peer.labels
    }
    neighbours = {
        f"another pod of the namespace {peer.namespace}": NetworkPeer(peer.namespace, {NAME_LABEL: "stranger"})
        for peer in pods.values()
        if peer.labels and peer.namespace != NAMESPACE
    }
    return {**namesakes, **neighbours}


def _with_contained_addresses(expected: Iterable[_Connection], peers: Mapping[str, NetworkPeer]) -> set[_Connection]:
    """Return the connections, with those to addresses within a block that they lead to."""
    whole = set(expected)
    for connection in expected:
        block = peers[connection.target]
        if block.cidr:
            for name, peer in peers.items():
                if peer.cidr and _contains({"cidr": block.cidr, "except": list(block.excluded)}, peer.cidr):
                    whole.add(_Connection(connection.source, name, connection.protocol, connection.port))
    return whole


def _differences(name: str, direction: str, allowed: set[_Connection], expected: set[_Connection]) -> Iterator[Finding]:
    document = f"network of {name}, {direction.lower()}"
    for problem, connections in (("allows", allowed - expected), ("refuses", expected - allowed)):
        by_pair: dict[tuple[str, str, str], list[int]] = {}
        for connection in sorted(connections):
            key = (connection.source, connection.target, connection.protocol)
            by_pair.setdefault(key, []).append(connection.port)
        for (source, target, protocol), ports in by_pair.items():
            shown = ", ".join(map(str, ports[:6])) + (" and more" if len(ports) > 6 else "")  # noqa: PLR2004
            reason = "which is no edge of the model" if problem == "allows" else "which is an edge of the model"
            text = f"it {problem} connections from {source} to {target} at {protocol} {shown}, {reason}"
            yield Finding(CheckStep.MODEL, document, text, REMEDY)


def _tried_ports(policies: Iterable[Mapping[str, Any]], edges: Iterable[Edge]) -> Sequence[int]:
    """Return the first and last ports of all ranges, their neighbours, and some others."""
    ranges = [(edge.ports.first, edge.ports.last) for edge in edges]
    for policy in policies:
        for rule in (*read_items(policy, "spec", "ingress"), *read_items(policy, "spec", "egress")):
            for port in read_items(rule, "ports"):
                first = read_number(port, "port")
                ranges.append((first, read_number(port, "endPort") or first))
    bounds = {bound + step for pair in ranges for bound in pair for step in (-1, 0, 1)}
    return sorted({port for port in (*bounds, *FURTHER_PORTS) if 1 <= port <= 65535})  # noqa: PLR2004


def _applies(policy: Mapping[str, Any], pod: NetworkPeer, direction: str) -> bool:
    """Return whether a policy restricts a direction of a pod. Without types, a policy restricts ingress."""
    types = read_texts(policy, "spec", "policyTypes") or (INGRESS,)
    in_namespace = read_text(policy, "metadata", "namespace") in {"", pod.namespace}
    selector = read_value(policy, "spec", "podSelector")
    return direction in types and in_namespace and isinstance(selector, Mapping) and selects(selector, pod.labels)


def _allowed_ports(
    policies: Iterable[Mapping[str, Any]], direction: str, peer: NetworkPeer, ports: Sequence[int]
) -> Iterator[tuple[str, int]]:
    field = "from" if direction == INGRESS else "to"
    for policy in policies:
        for rule in read_items(policy, "spec", direction.lower()):
            others = read_value(rule, field)
            if not others or any(_is_peer(other, peer) for other in read_items(rule, field)):
                yield from _ports_of_rule(rule, ports)


def _ports_of_rule(rule: Mapping[str, Any], tried: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield the ports of a rule; a rule without ports allows all of them."""
    if not rule.get("ports"):
        yield from ((protocol, port) for protocol in PROTOCOLS for port in tried)
    for entry in read_items(rule, "ports"):
        protocol = read_text(entry, "protocol") or TCP
        first = read_number(entry, "port")
        last = read_number(entry, "endPort") or first
        everything = "port" not in entry
        yield from ((protocol, port) for port in tried if everything or first <= port <= last)


def _is_peer(other: Mapping[str, Any], peer: NetworkPeer) -> bool:
    """Return whether an entry of a rule is about a peer. Pods are not matched by their addresses."""
    if "ipBlock" in other:
        return bool(peer.cidr) and _contains(read_mapping(other, "ipBlock"), peer.cidr)
    if peer.cidr or not other:
        return False
    namespace_labels = {NAMESPACE_LABEL: peer.namespace}
    namespaces = read_value(other, "namespaceSelector")
    is_near = peer.namespace == NAMESPACE if namespaces is None else selects(namespaces, namespace_labels)
    return is_near and selects(read_mapping(other, "podSelector"), peer.labels)


def _is_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _contains(block: Mapping[str, Any], cidr: str) -> bool:
    """Return whether a block, without its exceptions, contains all addresses of another."""
    try:
        inner = ip_network(cidr)
        outer = ip_network(read_text(block, "cidr"))
        excluded = [ip_network(exception) for exception in read_texts(block, "except")]
    except ValueError:
        return False
    is_excluded = any(_is_within(inner, exception) for exception in excluded)
    return _is_within(inner, outer) and not is_excluded
