"""Walls of one cell: the rates beyond which a part of it is full, whatever the number of replicas. Pure."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from prebook.lab.capacity.costs import DATABASE
from prebook.lab.capacity.sizing import CapacityModel
from prebook.lab.capacity.traffic import queue_traffic
from prebook.patterns.message_groups import HASH_SLOTS

MAX_SEARCHED_PER_S = 1e6


class Wall(msgspec.Struct, frozen=True, order=True):
    """The rate at which a part of a cell is full, and what to do about it."""

    rides_per_s: float
    part: str
    remedy: str


def find_walls(model: CapacityModel) -> tuple[Wall, ...]:
    """Return the walls of a cell, the first one first."""
    walls = (*_partition_walls(model), _broker_wall(model), _queue_wall(model))
    return tuple(sorted((*walls, _database_wall(model), _connection_wall(model))))


def _partition_walls(model: CapacityModel) -> Iterator[Wall]:
    for service, partitions in model.deployment.partitions.items():
        each = model.costs.processes[service].max_rides_per_s(model.assumptions.target_cores)
        if partitions < HASH_SLOTS:
            yield Wall(partitions * each, f"{service}: {partitions} partitions", f"up to {HASH_SLOTS} partitions")
        yield Wall(HASH_SLOTS * each, f"{service}: {HASH_SLOTS} partitions", "another cell")


def _broker_wall(model: CapacityModel) -> Wall:
    nodes, cores = model.assumptions.broker_nodes, model.assumptions.node_cores
    return Wall(
        model.broker_node_cost(nodes - 1).max_rides_per_s(cores * model.assumptions.server_share),
        f"broker: {nodes} nodes of {cores} cores, one of them lost",
        "nodes with more cores, then another cell; more nodes bring less, since each follows all queues",
    )


def _queue_wall(model: CapacityModel) -> Wall:
    busiest = queue_traffic(model.coupling)[0]
    rate = model.assumptions.queue_messages_per_s / busiest.per_queue
    return Wall(rate, f"broker: the leader of {busiest.address}", "another cell, or a flow that is split by fleet")


def _database_wall(model: CapacityModel) -> Wall:
    cores = model.assumptions.database_cores
    return Wall(
        model.costs.processes[DATABASE].max_rides_per_s(cores * model.assumptions.server_share),
        f"database: a primary of {cores} cores",
        "another cell; a database for some services alone gives up the common point in time of a restore",
    )


def _connection_wall(model: CapacityModel) -> Wall:
    """Find the highest rate whose replicas, during a roll-out, stay within the database's connections."""
    unbounded = replace(model, deployment=replace(model.deployment, partitions={}))
    max_connections = model.assumptions.max_connections
    low, high = 0.0, MAX_SEARCHED_PER_S
    while high - low > 1.0:
        middle = (low + high) / 2
        fits = unbounded.size_cell(middle).database.connections_at_roll_out <= max_connections
        low, high = (middle, high) if fits else (low, middle)
    return Wall(
        low,
        f"database: {max_connections:,} connections during a roll-out",
        "more connections (5 MB of memory each), replicas that use more of their core, or another cell",
    )
