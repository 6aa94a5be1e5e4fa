"""Message groups: partition of a key, bindings, and assignment of partitions to replicas."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.flows import ALL_FLOWS, BOOKING, EVENT_PARTITIONS, FLEETS, OFFER_SETTLED, PRICING
from prebook.messaging import addresses
from prebook.patterns.message_groups import HASH_SLOTS, hash_slot, hash_slots_of, partition_of
from prebook.rabbit.partition_balancer import assigned_replica, partitions_to_release
from prebook.topology.model import event_topology, suite_topology
from prebook.topology.partitions import partitioned_topology
from prebook.topology.values import ANY_ROUTING_KEY

SUITE = suite_topology({0.2})
GROUP = addresses.event_queue(FLEETS)


@given(key=st.text(min_size=1), partitions=st.integers(1, HASH_SLOTS))
def test_a_key_is_in_the_partition_that_has_its_slot(key: str, partitions: int) -> None:
    owners = [p for p in range(partitions) if hash_slot(key) in hash_slots_of(p, partitions)]
    assert owners == [partition_of(key, partitions)]


def test_keys_are_spread_evenly() -> None:
    counts = Counter(partition_of(f"bk_{number:032x}", 4) for number in range(4000))
    assert set(counts) == {0, 1, 2, 3}
    assert max(counts.values()) < 1.2 * min(counts.values())


@pytest.mark.parametrize("partitions", [1, 3, 4, HASH_SLOTS])
def test_every_slot_is_bound_to_one_partition_and_unslotted_messages_to_the_first(partitions: int) -> None:
    part = partitioned_topology(GROUP, partitions, "fleets")
    group = addresses.exchange_before(GROUP)
    slots = Counter(dict(b.arguments)["prebook-hash-slot"] for b in part.bindings if b.exchange == group)
    assert slots == Counter(str(number) for number in range(HASH_SLOTS))
    (unslotted,) = (b for b in part.bindings if b.exchange != group)
    assert (unslotted.routing_key, unslotted.destination) == (ANY_ROUTING_KEY, addresses.partition_queue(GROUP, 0))
    assert all(dict(q.arguments)["x-single-active-consumer"] is True for q in part.queues)


def test_ordered_flows_and_events_are_message_groups_in_the_suite() -> None:
    groups = {q.partitioned_queue for q in SUITE.queues if q.partitioned_queue}
    flows = [flow for flow in ALL_FLOWS if flow.partitions]
    request_queues = {
        name(f.provider, f.name) for f in flows for name in (addresses.one_way_request_queue, addresses.request_queue)
    }
    assert groups == request_queues | {addresses.event_queue(name) for name in EVENT_PARTITIONS}
    assert all(flow.ordered for flow in flows), "only messages that are sent in order can be handled in order"


def test_each_subscriber_of_an_event_has_partitions_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_PARTITIONS, "fleets", 2)
    topology = event_topology(replace(OFFER_SETTLED, subscribers=frozenset({FLEETS, BOOKING, PRICING})))
    counts = Counter(q.address for q in topology.queues if q.consumer)
    assert counts == {"fleets.events": 2, "booking.events": EVENT_PARTITIONS["booking"], "pricing.events": 1}


PARTITIONS = [addresses.partition_queue(GROUP, number) for number in range(4)]
GROUPS: dict[str, str] = dict.fromkeys(PARTITIONS, GROUP)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_partitions_are_spread_evenly_over_replicas(count: int) -> None:
    replicas = [f"replica {number}" for number in range(count)]
    shares = Counter(assigned_replica(partition, PARTITIONS, replicas) for partition in PARTITIONS)
    assert max(shares.values()) - min(shares.get(name, 0) for name in replicas) <= 1


def test_a_replica_releases_partitions_assigned_to_another() -> None:
    assert partitions_to_release(PARTITIONS, GROUPS, "a", ["a"]) == []
    released_by_b, released_by_a = (set(partitions_to_release(PARTITIONS, GROUPS, name, ["a", "b"])) for name in "ba")
    assert len(released_by_b) == len(released_by_a) == 2
    assert released_by_b | released_by_a == set(PARTITIONS)
    assert partitions_to_release(["pricing.events"], GROUPS, "a", ["a", "b"]) == [], "a plain queue is not released"


def test_a_replica_that_is_not_live_releases_nothing() -> None:
    assert partitions_to_release(PARTITIONS, GROUPS, "a", ["b", "c"]) == []
