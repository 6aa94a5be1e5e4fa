"""Size of a deployment for a rate of rides: replicas, partitions, queue leaders, connections and nodes. Pure.

A rate above that of one cell is divided among cells, which share nothing; ``docs/capacity.md`` has the formulas.
"""

from dataclasses import dataclass
from math import ceil

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import OPERATIONS, PROCESSES
from prebook.kubernetes.cluster import SURGE
from prebook.lab.capacity.assumptions import Assumptions
from prebook.lab.capacity.costs import BROKER, DATABASE, MS_PER_S, ProcessCost, RideCosts
from prebook.lab.capacity.traffic import messages_per_ride, queue_traffic
from prebook.patterns.message_groups import HASH_SLOTS
from prebook.postgres.engine import CONNECTIONS_PER_PROCESS
from prebook.runtime.retention import INBOX_RETENTION_S, OUTBOX_DEDUP_S

MIN_REPLICAS = 2
"""Replicas of a service that takes part in a flow: one may end at any time."""
ADMINISTRATIVE_CONNECTIONS = 20
"""Connections of setup, operators, exporters and replication."""
S_PER_HOUR = 3600
PARTITION_COUNTS = tuple(count for count in range(1, HASH_SLOTS + 1) if HASH_SLOTS % count == 0)
"""Numbers of partitions with equally many hash slots each."""


@dataclass(frozen=True)
class Deployment:
    """Facts of the suite: its quorum queues, and the partitions of services that consume nothing else."""

    quorum_queues: int
    partitions: dict[str, int]
    """Service -> partitions, which bound its replicas."""
    archive_bytes: int
    """Maximum size of the archive."""


class ServiceSize(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of one service in one cell."""

    service: str
    replicas: int
    cores: float
    """Cores that all replicas use."""
    partitions: int | None = None
    """Partitions that they need, each with one active consumer; null if any number of replicas may share the work."""
    busiest_share: float
    """Share of its core that the busiest replica uses."""


class BrokerSize(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of the broker in one cell."""

    nodes: int
    cores_per_node: float
    cores_per_node_with_one_lost: float
    messages_per_s: float
    queue_leaders_per_node: int
    busiest_queue: str
    busiest_queue_per_s: float


class DatabaseSize(msgspec.Struct, frozen=True, kw_only=True):
    """Database of one cell. Rows and bytes are those after the retention periods, at this rate day and night."""

    instances: int
    primary_cores: float
    transactions_per_s: float
    wal_bytes_per_s: float
    connections: int
    connections_at_roll_out: int
    outbox_rows: float
    outbox_bytes: float
    inbox_rows: float
    inbox_bytes: float
    archive_hours: float
    """Time that the archive covers before its maximum size removes messages."""


class CellSize(msgspec.Struct, frozen=True, kw_only=True):
    """Size of one cell: services, broker and database that share nothing with another cell."""

    rides_per_s: float
    services: tuple[ServiceSize, ...]
    replicas: int
    service_nodes: int
    broker: BrokerSize
    database: DatabaseSize


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Size of the whole deployment."""

    rides_per_s: float
    cells: int
    cell: CellSize


@dataclass(frozen=True)
class CapacityModel:
    """Sizes deployments of the suite for a plan that uses one coupling for all flows."""

    coupling: Coupling
    costs: RideCosts
    deployment: Deployment
    assumptions: Assumptions

    def size(self, rides_per_s: float) -> Capacity:
        """Return the cells for a rate, and the size of one of them."""
        cells = ceil(rides_per_s / self.assumptions.cell_rides_per_s)
        return Capacity(rides_per_s=rides_per_s, cells=cells, cell=self.size_cell(rides_per_s / cells))

    def size_cell(self, rides_per_s: float) -> CellSize:
        """Return the size of one cell for its rate."""
        services = tuple(self.size_service(name, rides_per_s) for name in PROCESSES)
        replicas = sum(service.replicas for service in services)
        node_cores = self.assumptions.node_cores * self.assumptions.node_share
        return CellSize(
            rides_per_s=rides_per_s,
            services=services,
            replicas=replicas,
            service_nodes=max(self.assumptions.zones, ceil(replicas * self.assumptions.target_cores / node_cores)),
            broker=self.size_broker(rides_per_s),
            database=self.size_database(rides_per_s, replicas),
        )

    def size_service(self, name: str, rides_per_s: float) -> ServiceSize:
        """Return the replicas of a service; those that partitions bound get as many as divide the partitions."""
        cost = self.costs.processes[name]
        needed = ceil(rides_per_s / cost.max_rides_per_s(self.assumptions.target_cores))
        replicas = max(1 if name == OPERATIONS else MIN_REPLICAS, needed)
        partitions = None
        if name in self.deployment.partitions:
            replicas = _partition_count(replicas)
            partitions = _partition_count(max(replicas, self.deployment.partitions[name]))
        return ServiceSize(
            service=name,
            replicas=replicas,
            cores=replicas * cost.standing_cores + rides_per_s * cost.ms_per_ride / MS_PER_S,
            partitions=partitions,
            busiest_share=cost.cores(rides_per_s / replicas),
        )

    def size_broker(self, rides_per_s: float) -> BrokerSize:
        """Return the load of each node: its share of the leaders, and a follower of every other queue."""
        nodes = self.assumptions.broker_nodes
        busiest = queue_traffic(self.coupling)[0]
        return BrokerSize(
            nodes=nodes,
            cores_per_node=self.broker_node_cost(nodes).cores(rides_per_s),
            cores_per_node_with_one_lost=self.broker_node_cost(nodes - 1).cores(rides_per_s),
            messages_per_s=rides_per_s * messages_per_ride(self.coupling),
            queue_leaders_per_node=ceil(self.deployment.quorum_queues / nodes),
            busiest_queue=busiest.address,
            busiest_queue_per_s=rides_per_s * busiest.per_queue,
        )

    def broker_node_cost(self, nodes: int) -> ProcessCost:
        """Return the cost of a ride at each of ``nodes`` nodes, of which one leads a queue and the others follow."""
        cost = self.costs.processes[BROKER]
        copies = 1 + (nodes - 1) * self.assumptions.follower_share
        return ProcessCost(cost.standing_cores, cost.ms_per_ride * copies / nodes)

    def size_database(self, rides_per_s: float, replicas: int) -> DatabaseSize:
        """Return load, connections and growth of the database for all replicas of the services."""
        messages_per_s = rides_per_s * messages_per_ride(self.coupling)
        outbox_rows = messages_per_s * OUTBOX_DEDUP_S
        inbox_rows = messages_per_s * INBOX_RETENTION_S
        connections = replicas * CONNECTIONS_PER_PROCESS + ADMINISTRATIVE_CONNECTIONS
        archived_bytes_per_s = messages_per_s * self.assumptions.archived_bytes_per_message
        return DatabaseSize(
            instances=self.assumptions.database_instances,
            primary_cores=self.costs.processes[DATABASE].cores(rides_per_s),
            transactions_per_s=rides_per_s * self.costs.counts.get("transactions", 0.0),
            wal_bytes_per_s=rides_per_s * self.costs.counts.get("WAL bytes", 0.0),
            connections=connections,
            connections_at_roll_out=connections + len(PROCESSES) * SURGE * CONNECTIONS_PER_PROCESS,
            outbox_rows=outbox_rows,
            outbox_bytes=outbox_rows * self.assumptions.outbox_row_bytes,
            inbox_rows=inbox_rows,
            inbox_bytes=inbox_rows * self.assumptions.inbox_row_bytes,
            archive_hours=self.deployment.archive_bytes / archived_bytes_per_s / S_PER_HOUR,
        )


def _partition_count(minimum: int) -> int:
    """Return the smallest number of partitions with equally many hash slots each, of at least ``minimum`` if any."""
    return next((count for count in PARTITION_COUNTS if count >= minimum), HASH_SLOTS)
