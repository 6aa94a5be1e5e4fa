"""Assumptions of the capacity model beyond the measured cost of a ride; each is printed with its reason."""

from dataclasses import dataclass, fields

import msgspec

from prebook.kubernetes.generation.scaling import CPU_OF_A_REPLICA
from prebook.kubernetes.quantities import parse_quantity


class Assumption(msgspec.Struct, frozen=True):
    """One value that the model takes for granted."""

    name: str
    value: float
    unit: str
    reason: str


@dataclass(frozen=True)
class Assumptions:
    """Values of the model that no measurement of one machine can give."""

    target_cores: float = parse_quantity(CPU_OF_A_REPLICA) or 0.0
    node_cores: int = 16
    node_share: float = 0.8
    server_share: float = 0.6
    database_cores: int = 32
    broker_nodes: int = 3
    database_instances: int = 3
    zones: int = 3
    follower_share: float = 0.5
    queue_messages_per_s: float = 15_000
    max_connections: int = 1_000
    cell_rides_per_s: float = 1_000
    archived_bytes_per_message: float = 1_000
    outbox_row_bytes: float = 2_100
    inbox_row_bytes: float = 300


REASONS = {
    "target_cores": ("cores", "a process has one core; the autoscaler adds a replica at this share of it"),
    "node_cores": ("cores", "size of a node for services, and of a broker's node"),
    "node_share": ("of a node", "the rest is for the platform's own pods"),
    "server_share": ("of a server", "broker and database keep the rest for a lost node and for catching up"),
    "database_cores": ("cores", "size of the primary, with local NVMe"),
    "broker_nodes": ("nodes", "a quorum queue has a replica on each, and survives the loss of one"),
    "database_instances": ("instances", "one primary and two standbys, one of which is synchronous"),
    "zones": ("zones", "one node at least of each kind in every zone"),
    "follower_share": ("of a leader", "not measured: cost of a quorum queue's follower beside its leader"),
    "queue_messages_per_s": ("messages/s", "not measured: one queue is one Erlang process on its leader's node"),
    "max_connections": ("connections", "5 MB of memory each; the sessions are looked through every 2 s"),
    "cell_rides_per_s": ("rides/s", "size of a cell: below every wall, and small enough to be lost"),
    "archived_bytes_per_message": ("bytes", "half of a message's measured AMQP traffic"),
    "outbox_row_bytes": ("bytes", "measured, indexes included (outbox-retention.md)"),
    "inbox_row_bytes": ("bytes", "not measured: an id, two times and their index"),
}
"""Unit and reason of each assumption."""


def list_assumptions(assumptions: Assumptions) -> tuple[Assumption, ...]:
    """Return all assumptions with their values."""
    return tuple(
        Assumption(each.name, getattr(assumptions, each.name), *REASONS[each.name]) for each in fields(assumptions)
    )
