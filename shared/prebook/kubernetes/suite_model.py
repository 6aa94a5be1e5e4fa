"""Everything that manifests are generated from and checked against, as one value."""

from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.errors import UserError
from prebook.kubernetes.cluster import ClusterSettings, read_cluster_settings
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import Policies, read_policies, retry_delays_s
from prebook.topology.access import OBSERVER_TOPOLOGY
from prebook.topology.archive import read_archive_retention
from prebook.topology.model import suite_topology
from prebook.topology.ride_subscriptions import read_ride_subscriptions
from prebook.topology.values import Topology


@dataclass(frozen=True)
class OverlayParts:
    """Parts of an overlay beside the services.

    ``has_operators``: broker and database run in the cluster, and RabbitMQ's Messaging Topology Operator declares the
    topology; otherwise somebody else runs them, and the setup Job declares it. ``has_autoscaling``: KEDA sets replicas.
    """

    name: str
    has_operators: bool = False
    has_autoscaling: bool = False


PLAIN = OverlayParts("plain")
OPERATORS = OverlayParts("operators", has_operators=True)
AUTOSCALED = OverlayParts("autoscaled", has_operators=True, has_autoscaling=True)
OVERLAYS = {parts.name: parts for parts in (PLAIN, OPERATORS, AUTOSCALED)}


@dataclass(frozen=True)
class SuiteModel:
    """Topology of the broker, policies of the flows, and size and surroundings of the suite in a cluster."""

    topology: Topology
    policies: Policies
    cluster: ClusterSettings
    couplings: str
    """Text of the file with plan and policies."""

    def broker_topology(self, parts: OverlayParts) -> Topology:
        """Return the topology that the broker of an overlay has."""
        return self.topology | OBSERVER_TOPOLOGY if parts.has_autoscaling else self.topology


def read_suite_model(couplings: Path, cluster: Path) -> SuiteModel:
    """Read the model. Raises UserError."""
    try:
        policies = read_policies(couplings)
        subscriptions = read_ride_subscriptions(couplings)
        archive = read_archive_retention(couplings)
        text = couplings.read_text()
    except (InvalidPolicies, OSError) as error:
        raise UserError(str(error), "correct the file, or name another one with --policies") from error
    topology = suite_topology(retry_delays_s(policies), subscriptions=subscriptions, archive=archive)
    return SuiteModel(topology, policies, read_cluster_settings(cluster), text)
