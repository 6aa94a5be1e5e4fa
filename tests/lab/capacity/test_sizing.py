"""The capacity model: every figure follows from the costs by its formula, and every wall is where a part is full."""

from dataclasses import replace

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES
from prebook.lab.capacity.assumptions import REASONS, Assumptions, list_assumptions
from prebook.lab.capacity.sizing import PARTITION_COUNTS
from prebook.lab.capacity.traffic import messages_per_ride, queue_traffic
from prebook.lab.capacity.walls import find_walls
from prebook.messaging.policy import read_policies
from prebook.patterns.message_groups import HASH_SLOTS
from prebook.runtime.paths import couplings_file
from prebook.topology.consumed_queues import consumed_queues_of
from tests.lab.capacity.capacities import MODEL

RATES = (1.0, 50.0, 333.0, 1000.0, 2500.0)


def test_replicas_follow_from_the_cost_of_a_ride() -> None:
    cell = MODEL.size_cell(1000.0)
    sizes = {size.service: size for size in cell.services}
    # One replica carries (0.6 - 0.1) / 0.005 = 100 rides/s.
    assert {name: sizes[name].replicas for name in PROCESSES} == {
        "booking": 10,
        "pricing": 10,
        "matching": 10,
        "notification": 16,
        "fleets": 10,
        "operations": 1,
    }
    assert sizes["notification"].partitions == 16
    assert sizes["booking"].cores == pytest.approx(10 * 0.1 + 5.0)
    assert cell.broker.cores_per_node == pytest.approx(0.2 + 8.0 * 2 / 3)
    assert cell.broker.cores_per_node_with_one_lost == pytest.approx(0.2 + 8.0 * 1.5 / 2)
    assert cell.database.connections == 57 * 15 + 20
    assert cell.database.connections_at_roll_out == 63 * 15 + 20


@pytest.mark.parametrize("rate", RATES)
def test_no_replica_is_above_its_share_and_none_is_without_a_partition(rate: float) -> None:
    for size in MODEL.size_cell(rate).services:
        if size.partitions:
            assert size.replicas <= size.partitions
            assert size.partitions in PARTITION_COUNTS
        if size.replicas != HASH_SLOTS:
            assert size.busiest_share <= MODEL.assumptions.target_cores + 1e-9
        assert size.replicas >= (1 if size.service == "operations" else 2)


def test_a_rate_above_one_cell_is_divided_among_equal_cells() -> None:
    large = MODEL.size(100_000.0)
    assert large.cells == 100
    assert large.cell == MODEL.size(1000.0).cell
    assert MODEL.size(1001.0).cells == 2
    assert MODEL.size(1001.0).cell.rides_per_s == 500.5


def test_every_wall_is_where_its_part_is_full() -> None:
    by_part = {wall.part: wall.rides_per_s for wall in find_walls(MODEL)}
    assert by_part["notification: 4 partitions"] == pytest.approx(400.0)
    assert by_part["notification: 16 partitions"] == pytest.approx(1600.0)
    assert by_part["database: a primary of 32 cores"] == pytest.approx(1920.0)
    assert by_part["broker: 3 nodes of 16 cores, one of them lost"] == pytest.approx((9.6 - 0.2) / 0.006)
    assert by_part["broker: the leader of booking.replies"] == pytest.approx(5000.0)
    limit = by_part["database: 1,000 connections during a roll-out"]
    unbounded = replace(MODEL, deployment=replace(MODEL.deployment, partitions={}))
    below, above = (unbounded.size_cell(limit + step).database.connections_at_roll_out for step in (-1.0, 1.0))
    assert below <= 1000 < above


def test_the_walls_are_sorted() -> None:
    rates = [wall.rides_per_s for wall in find_walls(MODEL)]
    assert rates == sorted(rates)


def test_sixteen_partitions_have_no_wall_at_their_present_number() -> None:
    model = replace(MODEL, deployment=replace(MODEL.deployment, partitions={"notification": 16}))
    assert [wall.part for wall in find_walls(model) if "notification" in wall.part] == ["notification: 16 partitions"]


@pytest.mark.parametrize("coupling", list(Coupling))
def test_messages_of_a_ride_reach_queues_that_their_receivers_consume(coupling: Coupling) -> None:
    policies = read_policies(couplings_file())
    consumed = {queue.address: queue.partitions for name in PROCESSES for queue in consumed_queues_of(name, policies)}
    traffic = queue_traffic(coupling)
    assert {queue.address: queue.partitions for queue in traffic}.items() <= consumed.items()
    assert messages_per_ride(coupling) == {"one_way": 15, "request_reply": 15}.get(coupling.value, 3)
    assert traffic[0].per_queue == max(queue.per_queue for queue in traffic)


def test_every_assumption_has_a_unit_and_a_reason() -> None:
    listed = list_assumptions(Assumptions())
    assert {each.name for each in listed} == set(REASONS)
    assert all(each.unit and each.reason and each.value > 0 for each in listed)
