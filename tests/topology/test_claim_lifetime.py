"""Lifetime of stored bodies: computed from the topology, and refused at the start of a service if it is shorter."""

from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.policy import FlowPolicy, read_policies, retry_delays_s
from prebook.patterns.retry import MAX_EXTERNAL_ATTEMPTS, external_retry_decision
from prebook.runtime.claim_lifetime import claim_lifetime_s, required_lifetime
from prebook.runtime.environment import BadSettings
from prebook.runtime.retention import DAY_S
from prebook.testing.configuration import make_settings
from prebook.topology.claim_lifetime import claim_lifetime
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology

POLICIES = read_policies(Path(__file__).parents[2] / "deploy" / "couplings.toml")
SLOW = {flow: FlowPolicy(coupling=Coupling.ONE_WAY, deadline_s=3600.0) for flow in FLOWS}


def test_every_part_comes_from_the_topology() -> None:
    lifetime = claim_lifetime(
        suite_topology(retry_delays_s(POLICIES)), POLICIES, unexpiring_ttl_s=DAY_S, extension_interval_s=100
    )
    assert (lifetime.archive_s, lifetime.message_ttl_s, lifetime.parking_s) == (7 * DAY_S, DAY_S, 2_400)


def test_a_deadline_beyond_the_other_waits_prolongs_the_lifetime() -> None:
    assert claim_lifetime(Topology(), SLOW, unexpiring_ttl_s=60, extension_interval_s=1).message_ttl_s == 3600
    assert claim_lifetime(Topology(), SLOW, unexpiring_ttl_s=60, extension_interval_s=1).archive_s == 0


def test_the_retries_of_an_external_system_are_covered() -> None:
    attempts = range(1, MAX_EXTERNAL_ATTEMPTS)
    decisions = [external_retry_decision(n, message_id="m", retry_after_s=3600) for n in attempts]
    total_s = sum(getattr(decision, "delay_s", 0.0) for decision in decisions)
    assert claim_lifetime(Topology(), SLOW, unexpiring_ttl_s=60, extension_interval_s=1).retries_s >= total_s > DAY_S


def test_the_computed_lifetime_is_the_default() -> None:
    settings = make_settings()
    assert claim_lifetime_s(settings, POLICIES) == required_lifetime(settings, POLICIES).required_s > 14 * DAY_S


def test_a_longer_lifetime_is_kept_and_a_shorter_one_refused() -> None:
    required_s = required_lifetime(make_settings(), POLICIES).required_s
    assert claim_lifetime_s(make_settings(claim_check_lifetime_s=required_s + 1), POLICIES) == required_s + 1
    with pytest.raises(BadSettings, match=r"PREBOOK_CLAIM_CHECK_LIFETIME_S: .* leave it out, or set at least"):
        claim_lifetime_s(make_settings(claim_check_lifetime_s=7 * DAY_S), POLICIES)
