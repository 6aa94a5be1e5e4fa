"""Network edges of the model: who opens connections to whom, and at which port.

An edge points to the peer that is dialled, which is not always where data goes: a consumer dials the broker.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prebook.flows import CONSOLE, PROCESSES, SERVICES, callers_of
from prebook.kubernetes import names
from prebook.kubernetes.names import SETUP, WORKLOADS
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel
from prebook.topology.access import broker_accounts

BROKER = "broker"
DATABASE = "database"
DNS = "dns"
PROMETHEUS = "prometheus"
GATEWAY = "gateway"
KEDA = "keda"
RABBITMQ_OPERATORS = "rabbitmq operators"
DATABASE_OPERATOR = "database operator"
PUBLIC_HOSTS = "public hosts"
TCP = "TCP"
UDP = "UDP"
CLUSTER_PORTS = ((4369, 4369), (25672, 25672), (6000, 6500), (35672, 35682))
"""First and last port of each range that the nodes of a broker use among themselves: discovery, distribution, stream
replication and command-line tools. Source: RabbitMQ documentation, Networking."""


@dataclass(frozen=True, order=True)
class PortRange:
    """TCP or UDP ports, of which most ranges have one."""

    first: int
    last: int
    protocol: str = TCP


@dataclass(frozen=True, order=True)
class Edge:
    """Permission of ``source`` to open connections to ``target``. Both are names of peers."""

    source: str
    target: str
    ports: PortRange


def network_edges(model: SuiteModel, parts: OverlayParts) -> frozenset[Edge]:
    """Return all edges that an overlay needs, and no other."""
    edges = {
        *_dns_edges(),
        *_call_edges(),
        *_server_edges(model),
        *_edges([PROMETHEUS], PROCESSES, names.INTERNAL_PORT),
        *_edges([GATEWAY], ["booking"], names.PUBLIC_PORT),
    }
    if model.cluster.rider_callback_hosts:
        edges |= {*_edges(["booking"], [PUBLIC_HOSTS], names.HTTPS_PORT)}
    edges |= {*_operator_edges()} if parts.has_operators else {*_edges([SETUP], [BROKER], names.MANAGEMENT_PORT)}
    if parts.has_autoscaling:
        edges |= {*_edges([KEDA], [BROKER], names.MANAGEMENT_PORT)}
    return frozenset(edges)


def _dns_edges() -> Iterator[Edge]:
    for workload in WORKLOADS:
        for protocol in (UDP, TCP):
            yield Edge(workload, DNS, PortRange(names.DNS_PORT, names.DNS_PORT, protocol))


def _call_edges() -> Iterator[Edge]:
    """Calls of internal listeners: those of the couplings over HTTP, lookups, claim checks, and replays."""
    for service in SERVICES:
        yield from _edges(sorted(callers_of(service) - {CONSOLE}), [service], names.INTERNAL_PORT)


def _server_edges(model: SuiteModel) -> Iterator[Edge]:
    """Connections to broker and database; each process has a schema of its own."""
    accounts = set(broker_accounts(model.topology))
    yield from _edges([process for process in PROCESSES if process in accounts], [BROKER], names.AMQP_PORT)
    yield from _edges(WORKLOADS, [DATABASE], names.DATABASE_PORT)


def _operator_edges() -> Iterator[Edge]:
    """Connections of broker and database among themselves, and of their operators."""
    for first, last in CLUSTER_PORTS:
        yield Edge(BROKER, BROKER, PortRange(first, last))
    yield from _edges([RABBITMQ_OPERATORS], [BROKER], names.MANAGEMENT_PORT)
    for port in (names.DATABASE_PORT, names.DATABASE_STATUS_PORT):
        yield from _edges([DATABASE, DATABASE_OPERATOR], [DATABASE], port)
    yield from _edges([PROMETHEUS], [BROKER], names.BROKER_METRICS_PORT)
    yield from _edges([PROMETHEUS], [DATABASE], names.DATABASE_METRICS_PORT)


def _edges(sources: Iterable[str], targets: Iterable[str], port: int) -> Iterator[Edge]:
    targets = list(targets)
    return (Edge(source, target, PortRange(port, port)) for source in sources for target in targets)
