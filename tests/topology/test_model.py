"""Model of the topology, derived from the catalogue of flows."""

from dataclasses import replace
from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import ALL_FLOWS, FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.policy import read_policies, retry_delays_s
from prebook.topology.archive import archive_topology
from prebook.topology.consumed_queues import prefetch_by_queue
from prebook.topology.model import COUPLING_TOPOLOGIES, plan_topology, suite_topology
from prebook.topology.retry_and_dead_letter import exact_match
from prebook.topology.values import ANY_ROUTING_KEY, Binding, Topology

POLICIES = read_policies(Path(__file__).parents[2] / "deploy" / "couplings.toml")
SUITE = suite_topology(retry_delays_s(POLICIES))


def test_every_coupling_has_a_topology() -> None:
    assert COUPLING_TOPOLOGIES.keys() == set(Coupling)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_consumes_exactly_its_queues_of_the_model(service: str) -> None:
    queues = {queue.name for queue in SUITE.consumed_queues() if queue.consumer == service}
    assert queues == prefetch_by_queue(service, POLICIES).keys()


def test_every_consumed_queue_has_parking_limits_and_redelivery() -> None:
    for queue in (q for q in SUITE.consumed_queues() if q.consumer in SERVICES):
        (policy,) = (p for p in SUITE.policies if p.name == queue.name)
        limits = dict(policy.definition)
        assert limits["dead-letter-exchange"] == addresses.PARKING
        assert limits["dead-letter-routing-key"] == queue.address
        assert limits["dead-letter-strategy"] == "at-least-once"
        assert limits["overflow"] == "reject-publish"
        assert any(
            b.exchange == addresses.REDELIVER and b.routing_key == b.destination == queue.address
            for b in SUITE.bindings
        )


def test_the_delivery_limit_exceeds_the_attempts_of_every_flow() -> None:
    limits = [dict(p.definition)["delivery-limit"] for p in SUITE.policies if p.name != addresses.ARCHIVE_QUEUE]
    assert all(isinstance(limit, int) and limit > max(p.max_attempts for p in POLICIES.values()) for limit in limits)


def test_the_parking_queue_has_no_length_limit() -> None:
    (policy,) = (p for p in SUITE.policies if p.name == addresses.PARKING_QUEUE)
    assert not {"max-length", "max-length-bytes", "message-ttl", "overflow"} & dict(policy.definition).keys()


def test_every_retry_delay_has_a_queue_that_keeps_the_routing_key() -> None:
    delay_queues = {p.name: dict(p.definition) for p in SUITE.policies if p.name.startswith("prebook.delay.")}
    assert {name: limits["message-ttl"] for name, limits in delay_queues.items()} == {
        addresses.delay_queue(delay_s): round(delay_s * 1000) for delay_s in retry_delays_s(POLICIES)
    }
    assert all("dead-letter-routing-key" not in limits for limits in delay_queues.values())


def test_every_granted_routing_key_is_routed_to_a_queue() -> None:
    """Publishing is mandatory: with a grant but no binding, a message could never be sent."""
    routed = {(b.exchange, b.routing_key) for b in SUITE.bindings}
    for grant in (g for g in SUITE.grants if g.routing_key != ANY_ROUTING_KEY):
        assert routed & {(grant.exchange, grant.routing_key), (grant.exchange, "#")}, grant


def test_every_key_of_the_topic_exchange_is_archived() -> None:
    keys = {b.routing_key for b in SUITE.bindings if b.destination == addresses.ARCHIVE_QUEUE}
    assert keys == {g.routing_key for g in SUITE.grants if g.exchange == addresses.EVENTS}
    assert addresses.event_routing_key("booking_confirmed") in keys, "an event without subscribers"


def test_a_key_without_a_consumer_is_not_bound_to_the_archive() -> None:
    """Otherwise the broker would confirm a request that no consumer receives."""
    consumed = {q.address for q in SUITE.consumed_queues()}
    unconsumed = replace(SUITE, bindings=frozenset(b for b in SUITE.bindings if b.destination not in consumed))
    base = replace(unconsumed, bindings=unconsumed.bindings - _archiving(unconsumed))
    archived = {b.routing_key for b in archive_topology(base).bindings}
    assert archived == set()


def _archiving(topology: Topology) -> frozenset[Binding]:
    return frozenset(b for b in topology.bindings if b.destination == addresses.ARCHIVE_QUEUE)


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.ASYNC_API])
def test_http_couplings_need_no_queues_or_exchanges(coupling: Coupling) -> None:
    part = COUPLING_TOPOLOGIES[coupling](FLOWS["quote_fare"])
    assert not part.queues
    assert not part.exchanges
    assert part.arrows


def test_the_topology_of_a_plan_is_part_of_the_suite() -> None:
    plan = dict(zip((flow.name for flow in ALL_FLOWS), Coupling, strict=True))
    part = plan_topology(plan)
    assert part.queues <= SUITE.queues
    assert part.bindings <= SUITE.bindings
    assert part.grants <= SUITE.grants


def test_exact_match_escapes_dots() -> None:
    assert exact_match("a.b") == r"^(a\.b)$"
    assert exact_match() == "^$"
