"""The catalogue of faults, their availability, and decisions of injections that need no I/O."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from prebook.flows import FLOWS, NOTIFY_RIDER, OPERATIONS, PROCESSES, SERVICES
from prebook.lab.faults import FAULT_CATALOGUE, Fault, FaultKind, Need, NoEffect, clock_skew, crashing_poison
from prebook.lab.faults.availability import NO_CONTROL, NO_PROXIES, ONE_NODE, SuiteCapabilities, unavailable_reason
from prebook.lab.faults.broker_channel import QueueBinding, publishable_bindings, unshared_bindings
from prebook.lab.faults.catalogue import LINK_ENDPOINTS
from prebook.lab.faults.cluster import busiest_leader
from prebook.lab.faults.injection import INJECTIONS
from prebook.lab.faults.messages import (
    CRASHING_POISON,
    MESSAGE_TYPES,
    POISONS,
    VALID_BODIES,
    expired_request,
    message_headers,
)
from prebook.lab.faults.poison import evidence_text
from prebook.lab.faults.queue_full import request_bindings
from prebook.messaging import headers
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.errors import Malformed
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from tests.lab.faults.dead_letters import parked_dead_letter

ALL_CAPABILITIES = SuiteCapabilities(
    processes=frozenset(PROCESSES),
    servers=frozenset({"broker", "database"}),
    proxies=frozenset(LINK_ENDPOINTS),
    broker_nodes=3,
)
LINKS = tuple(
    [f"{service}_{server}" for service in PROCESSES for server in ("broker", "database")]
    + [f"http_{service}" for service in PROCESSES]
)
NAMES = {
    *(f"{kind}_{service}" for kind in ("kill", "pause", "brownout") for service in PROCESSES),
    *(f"clock_skew_{service}" for service in SERVICES),
    *(f"{server}_{kind}" for server in ("broker", "database") for kind in ("restart", "kill")),
    *(
        "connections_cut",
        "memory_alarm",
        "queue_full",
        "duplicate_everything",
        "poison",
        "crashing_poison",
        "leader_lost",
    ),
    *("database_read_only", "database_locked"),
    *(f"partner_{kind}_{partner}" for kind in ("slow", "dead", "garbled") for partner in ("ada", "borealis", "cargo")),
    *(f"link_{kind}_{link}" for kind in ("slow", "cut", "black_hole", "response_loss") for link in LINKS),
}


def test_fault_names_are_stable() -> None:
    assert set(FAULT_CATALOGUE) == NAMES
    assert all(name == fault.name for name, fault in FAULT_CATALOGUE.items())


@pytest.mark.parametrize("fault", FAULT_CATALOGUE.values(), ids=lambda fault: fault.name)
def test_each_fault_has_an_expectation_and_an_injection(fault: Fault) -> None:
    assert fault.kind in INJECTIONS
    assert fault.needs
    assert fault.expectation.endswith(".")
    assert len(fault.expectation) > 60
    assert unavailable_reason(fault, ALL_CAPABILITIES) == ""


@pytest.mark.parametrize(
    ("name", "capabilities", "expected"),
    [
        ("kill_pricing", replace(ALL_CAPABILITIES, control_problem=NO_CONTROL), NO_CONTROL),
        ("kill_pricing", replace(ALL_CAPABILITIES, processes=frozenset({"booking"})), "no process pricing"),
        ("broker_kill", replace(ALL_CAPABILITIES, servers=frozenset()), "cannot restart the broker"),
        ("memory_alarm", replace(ALL_CAPABILITIES, amqp_problem="no address"), "no address"),
        ("poison", replace(ALL_CAPABILITIES, processes=frozenset(SERVICES)), "no operations"),
        ("crashing_poison", replace(ALL_CAPABILITIES, processes=frozenset({OPERATIONS})), "no process notification"),
        ("crashing_poison", replace(ALL_CAPABILITIES, processes=frozenset(SERVICES)), "no operations"),
        ("connections_cut", replace(ALL_CAPABILITIES, management_problem="no API"), "no API"),
        ("link_cut_http_pricing", replace(ALL_CAPABILITIES, proxies=frozenset()), NO_PROXIES),
        (
            "link_cut_http_pricing",
            replace(ALL_CAPABILITIES, proxies=frozenset({"http-fleets"})),
            "no fault proxy http-pricing",
        ),
        ("leader_lost", replace(ALL_CAPABILITIES, broker_nodes=1), ONE_NODE),
    ],
)
def test_the_reason_names_each_missing_capability_once(
    name: str, capabilities: SuiteCapabilities, expected: str
) -> None:
    reason = unavailable_reason(FAULT_CATALOGUE[name], capabilities)
    assert reason.count(expected) == 1, reason


def test_a_server_fault_needs_no_process_of_that_name() -> None:
    assert Need.CONTROL in FAULT_CATALOGUE["broker_kill"].needs
    assert unavailable_reason(FAULT_CATALOGUE["broker_kill"], replace(ALL_CAPABILITIES, processes=frozenset())) == ""


def listed_binding(exchange: str, key: str, queue: str) -> dict[str, Any]:
    return {"source": exchange, "routing_key": key, "destination": queue}


def test_publishable_bindings_omit_catch_all_and_redelivery_bindings() -> None:
    bindings = [
        listed_binding("", "pricing.one_way_requests.quote_fare", "pricing.one_way_requests.quote_fare"),
        listed_binding("events", "request.quote_fare", "pricing.one_way_requests.quote_fare"),
        listed_binding("events", "request.quote_fare", "archive"),
        listed_binding("requests", "quote_fare", "pricing.requests.quote_fare"),
        listed_binding("redeliver", "pricing.requests.quote_fare", "pricing.requests.quote_fare"),
        listed_binding("parking", "#", "parked"),
        listed_binding("partitions", "1", "pricing.requests.quote_fare"),
    ]
    routes = publishable_bindings(bindings, ["", "events", "requests", "redeliver", "parking"])
    assert {(route.exchange, route.routing_key) for route in routes} == {
        ("events", "request.quote_fare"),
        ("requests", "quote_fare"),
    }
    assert unshared_bindings(routes) == (QueueBinding("requests", "quote_fare", "pricing.requests.quote_fare"),)
    assert {route.queue for route in request_bindings("pricing", routes)} == {
        "pricing.one_way_requests.quote_fare",
        "pricing.requests.quote_fare",
    }
    assert request_bindings("fleets", routes) == ()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_filler_message_is_a_valid_expired_request(flow: str) -> None:
    message = expired_request(f"request.{flow}")
    envelope = decode(WireMessage({name: str(value) for name, value in message.headers.items()}, message.body))
    assert envelope.flow == flow
    assert type(envelope.body) is FLOWS[flow].request_type
    assert envelope.is_expired(datetime.now(UTC))


def test_the_header_for_measuring_clock_skew_is_the_one_that_services_write() -> None:
    assert clock_skew.FIRST_FAILED_AT_HEADER == headers.FIRST_FAILED_AT_HEADER


def test_the_deliveries_of_a_crashing_poison_are_those_that_its_queue_permits() -> None:
    assert crashing_poison.MAX_DELIVERIES == DELIVERY_LIMIT + 1


@pytest.mark.parametrize(
    "poison", [poison for poison in POISONS if not poison.retried], ids=lambda poison: poison.cause
)
def test_poison_fails_to_decode_with_its_cause(poison: Any) -> None:
    with pytest.raises(Malformed) as raised:
        decode(WireMessage(message_headers(NOTIFY_RIDER.name, poison.type, "m"), poison.body))
    assert raised.value.cause == poison.cause


@pytest.mark.parametrize(
    "poison",
    [CRASHING_POISON, *(poison for poison in POISONS if poison.retried)],
    ids=lambda poison: poison.cause,
)
def test_the_retried_poison_decodes_like_a_valid_request(poison: Any) -> None:
    envelope = decode(WireMessage(message_headers(NOTIFY_RIDER.name, MESSAGE_TYPES["notify_rider"], "m"), poison.body))
    assert type(envelope.body) is NOTIFY_RIDER.request_type
    assert VALID_BODIES["notify_rider"] != poison.body


@pytest.mark.parametrize(("cause", "attempts"), [("bad_json", 2), ("wrong_schema", 1)])
def test_poison_parked_for_another_cause_is_no_evidence(cause: str, attempts: int) -> None:
    with pytest.raises(NoEffect, match="bad_json"):
        evidence_text([parked_dead_letter(cause, attempts)], POISONS[:1])


def test_poison_parked_with_the_expected_causes_and_attempts_is_evidence() -> None:
    dead_letters = [parked_dead_letter(poison.cause, 4 if poison.retried else 1) for poison in POISONS]
    assert "attempts_exhausted after 4 attempts" in evidence_text(dead_letters, POISONS)


def test_the_busiest_leader_leads_most_queues() -> None:
    assert busiest_leader({"a": "one", "b": "two", "c": "two"}) == "two"
    with pytest.raises(NoEffect):
        busiest_leader({})


def test_every_fault_kind_is_in_the_catalogue() -> None:
    assert {fault.kind for fault in FAULT_CATALOGUE.values()} == set(FaultKind)
