"""What the model says of the broker, derived from the catalogue."""

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


def test_every_coupling_has_a_plan() -> None:
    assert COUPLING_TOPOLOGIES.keys() == set(Coupling)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_consumes_exactly_the_queues_that_the_model_gives_it(service: str) -> None:
    given = {queue.name for queue in SUITE.consumed_queues() if queue.consumer == service}
    assert given == prefetch_by_queue(service, POLICIES).keys()


def test_every_consumed_queue_can_be_parked_limited_and_returned_to() -> None:
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


def test_the_broker_gives_up_on_a_message_only_after_the_service_has() -> None:
    limits = [dict(p.definition)["delivery-limit"] for p in SUITE.policies if p.name != addresses.ARCHIVE_QUEUE]
    assert all(isinstance(limit, int) and limit > max(p.max_attempts for p in POLICIES.values()) for limit in limits)


def test_what_is_parked_is_never_refused_for_want_of_room() -> None:
    (policy,) = (p for p in SUITE.policies if p.name == addresses.PARKING_QUEUE)
    assert not {"max-length", "max-length-bytes", "message-ttl", "overflow"} & dict(policy.definition).keys()


def test_there_is_a_rung_for_each_back_off_and_it_keeps_the_routing_key() -> None:
    rungs = {p.name: dict(p.definition) for p in SUITE.policies if p.name.startswith("prebook.delay.")}
    assert {name: limits["message-ttl"] for name, limits in rungs.items()} == {
        addresses.delay_queue(pause): round(pause * 1000) for pause in retry_delays_s(POLICIES)
    }
    assert all("dead-letter-routing-key" not in limits for limits in rungs.values())


def test_every_key_that_may_be_published_is_routed_to_a_queue() -> None:
    """Publishing is mandatory: a grant without a binding would be a message that can never leave."""
    routed = {(b.exchange, b.routing_key) for b in SUITE.bindings}
    for grant in (g for g in SUITE.grants if g.routing_key != ANY_ROUTING_KEY):
        assert routed & {(grant.exchange, grant.routing_key), (grant.exchange, "#")}, grant


def test_all_that_is_published_as_an_event_is_archived() -> None:
    keys = {b.routing_key for b in SUITE.bindings if b.destination == addresses.ARCHIVE_QUEUE}
    assert keys == {g.routing_key for g in SUITE.grants if g.exchange == addresses.EVENTS}
    assert addresses.event_routing_key("booking_confirmed") in keys, "though nobody subscribes to it"


def test_what_would_lead_to_the_archive_alone_is_unroutable() -> None:
    """Else a question that nobody takes would be confirmed, and nobody would hear of it."""
    consumed = {q.address for q in SUITE.consumed_queues()}
    lone = replace(SUITE, bindings=frozenset(b for b in SUITE.bindings if b.destination not in consumed))
    kept = {b.routing_key for b in archive_topology(replace(lone, bindings=lone.bindings - _archiving(lone))).bindings}
    assert kept == set()


def _archiving(topology: Topology) -> frozenset[Binding]:
    return frozenset(b for b in topology.bindings if b.destination == addresses.ARCHIVE_QUEUE)


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.ASYNC_API])
def test_a_call_needs_nothing_of_the_broker(coupling: Coupling) -> None:
    part = COUPLING_TOPOLOGIES[coupling](FLOWS["quote_fare"])
    assert not part.queues
    assert not part.exchanges
    assert part.arrows


def test_a_plan_is_a_part_of_the_suite() -> None:
    plan = dict(zip((flow.name for flow in ALL_FLOWS), Coupling, strict=True))
    part = plan_topology(plan)
    assert part.queues <= SUITE.queues
    assert part.bindings <= SUITE.bindings
    assert part.grants <= SUITE.grants


def test_an_exact_expression_takes_a_dot_for_a_dot() -> None:
    assert exact_match("a.b") == r"^(a\.b)$"
    assert exact_match() == "^$"
