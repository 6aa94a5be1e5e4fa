"""What the model says of the broker, derived from the catalogue."""

from dataclasses import replace
from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import CATALOGUE, FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.policy import backoffs, read_policies
from prebook.rabbit.consumed_queues import queues_of
from prebook.topology.archive import archived
from prebook.topology.model import PLANS, suite_topology, topology_of
from prebook.topology.retry_and_dead_letter import exactly
from prebook.topology.values import ANY_KEY, Binding, Topology

POLICIES = read_policies(Path(__file__).parents[2] / "deploy" / "couplings.toml")
SUITE = suite_topology(backoffs(POLICIES))


def test_every_coupling_has_a_plan() -> None:
    assert PLANS.keys() == set(Coupling)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_consumes_exactly_the_queues_that_the_model_gives_it(service: str) -> None:
    given = {queue.name for queue in SUITE.consumed() if queue.consumer == service}
    assert given == queues_of(service, POLICIES).keys()


def test_every_consumed_queue_can_be_parked_limited_and_returned_to() -> None:
    for queue in (q for q in SUITE.consumed() if q.consumer in SERVICES):
        (policy,) = (p for p in SUITE.policies if p.name == queue.name)
        limits = dict(policy.definition)
        assert limits["dead-letter-exchange"] == addresses.PARKING
        assert limits["dead-letter-routing-key"] == queue.address
        assert limits["dead-letter-strategy"] == "at-least-once"
        assert limits["overflow"] == "reject-publish"
        assert any(b.exchange == addresses.REDELIVER and b.key == b.queue == queue.address for b in SUITE.bindings)


def test_the_broker_gives_up_on_a_message_only_after_the_service_has() -> None:
    limits = [dict(p.definition)["delivery-limit"] for p in SUITE.policies if p.name != addresses.ARCHIVE_QUEUE]
    assert all(isinstance(limit, int) and limit > max(p.max_attempts for p in POLICIES.values()) for limit in limits)


def test_what_is_parked_is_never_refused_for_want_of_room() -> None:
    (policy,) = (p for p in SUITE.policies if p.name == addresses.PARKED_QUEUE)
    assert not {"max-length", "max-length-bytes", "message-ttl", "overflow"} & dict(policy.definition).keys()


def test_there_is_a_rung_for_each_back_off_and_it_keeps_the_routing_key() -> None:
    rungs = {p.name: dict(p.definition) for p in SUITE.policies if p.name.startswith("prebook.delay.")}
    assert {name: limits["message-ttl"] for name, limits in rungs.items()} == {
        addresses.delay(pause): round(pause * 1000) for pause in backoffs(POLICIES)
    }
    assert all("dead-letter-routing-key" not in limits for limits in rungs.values())


def test_every_key_that_may_be_published_is_routed_to_a_queue() -> None:
    """Publishing is mandatory: a grant without a binding would be a message that can never leave."""
    routed = {(b.exchange, b.key) for b in SUITE.bindings}
    for grant in (g for g in SUITE.grants if g.key != ANY_KEY):
        assert routed & {(grant.exchange, grant.key), (grant.exchange, "#")}, grant


def test_all_that_is_published_as_an_event_is_archived() -> None:
    keys = {b.key for b in SUITE.bindings if b.queue == addresses.ARCHIVE_QUEUE}
    assert keys == {g.key for g in SUITE.grants if g.exchange == addresses.EVENTS}
    assert addresses.fact("booking_confirmed") in keys, "though nobody subscribes to it"


def test_what_would_lead_to_the_archive_alone_is_unroutable() -> None:
    """Else a question that nobody takes would be confirmed, and nobody would hear of it."""
    consumed = {q.address for q in SUITE.consumed()}
    lone = replace(SUITE, bindings=frozenset(b for b in SUITE.bindings if b.queue not in consumed))
    kept = {b.key for b in archived(replace(lone, bindings=lone.bindings - _archiving(lone))).bindings}
    assert kept == set()


def _archiving(topology: Topology) -> frozenset[Binding]:
    return frozenset(b for b in topology.bindings if b.queue == addresses.ARCHIVE_QUEUE)


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.ASYNC_API])
def test_a_call_needs_nothing_of_the_broker(coupling: Coupling) -> None:
    part = PLANS[coupling](FLOWS["quote_fare"])
    assert not part.queues
    assert not part.exchanges
    assert part.links


def test_a_plan_is_a_part_of_the_suite() -> None:
    plan = dict(zip((flow.name for flow in CATALOGUE), Coupling, strict=True))
    part = topology_of(plan)
    assert part.queues <= SUITE.queues
    assert part.bindings <= SUITE.bindings
    assert part.grants <= SUITE.grants


def test_an_exact_expression_takes_a_dot_for_a_dot() -> None:
    assert exactly("a.b") == r"^(a\.b)$"
    assert exactly() == "^$"
