"""The catalogue of faults, and what is decided about them without touching anything."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from prebook.contracts.dead_letters import DeadLetterState, DeadLetterSummary
from prebook.flows import FLOWS, NOTIFY_RIDER, PROCESSES, SERVICES
from prebook.lab.faults import FAULT_CATALOGUE, Fault, FaultKind, Need, NoEffect, clock_skew
from prebook.lab.faults.availability import NO_CONTROL, NO_PROXIES, ONE_NODE, SuiteCapabilities, unavailable_reason
from prebook.lab.faults.broker_channel import QueueBinding, publishable_bindings, unshared_bindings
from prebook.lab.faults.catalogue import LINK_ENDPOINTS
from prebook.lab.faults.cluster import busiest_leader
from prebook.lab.faults.injection import INJECTIONS
from prebook.lab.faults.messages import MESSAGE_TYPES, POISONS, VALID_BODIES, expired_request, message_headers
from prebook.lab.faults.poison import evidence_text
from prebook.lab.faults.queue_full import request_bindings
from prebook.messaging import headers
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.errors import Malformed

EVERYTHING = SuiteCapabilities(
    processes=frozenset(PROCESSES),
    servers=frozenset({"broker", "database"}),
    proxies=frozenset(LINK_ENDPOINTS),
    broker_nodes=3,
)
AT = tuple(
    [f"{service}_{part}" for service in PROCESSES for part in ("broker", "database")]
    + [f"http_{service}" for service in PROCESSES]
)
NAMES = {
    *(f"{what}_{service}" for what in ("kill", "pause", "brownout") for service in PROCESSES),
    *(f"clock_skew_{service}" for service in SERVICES),
    *(f"{part}_{how}" for part in ("broker", "database") for how in ("restart", "kill")),
    *("connections_cut", "memory_alarm", "queue_full", "duplicate_everything", "poison", "leader_lost"),
    *(f"link_{how}_{at}" for how in ("slow", "cut", "black_hole", "response_loss") for at in AT),
}


def test_the_names_are_stable() -> None:
    assert set(FAULT_CATALOGUE) == NAMES
    assert all(name == fault.name for name, fault in FAULT_CATALOGUE.items())


@pytest.mark.parametrize("fault", FAULT_CATALOGUE.values(), ids=lambda fault: fault.name)
def test_each_says_what_to_expect_and_can_be_carried_out(fault: Fault) -> None:
    assert fault.kind in INJECTIONS
    assert fault.needs
    assert fault.expectation.endswith(".")
    assert len(fault.expectation) > 60
    assert unavailable_reason(fault, EVERYTHING) == ""


@pytest.mark.parametrize(
    ("name", "has", "why_not"),
    [
        ("kill_pricing", replace(EVERYTHING, control_problem=NO_CONTROL), NO_CONTROL),
        ("kill_pricing", replace(EVERYTHING, processes=frozenset({"booking"})), "no process pricing"),
        ("broker_kill", replace(EVERYTHING, servers=frozenset()), "did not start the broker"),
        ("memory_alarm", replace(EVERYTHING, amqp_problem="no address"), "no address"),
        ("poison", replace(EVERYTHING, processes=frozenset(SERVICES)), "no operations"),
        ("connections_cut", replace(EVERYTHING, management_problem="no API"), "no API"),
        ("link_cut_http_pricing", replace(EVERYTHING, proxies=frozenset()), NO_PROXIES),
        (
            "link_cut_http_pricing",
            replace(EVERYTHING, proxies=frozenset({"http-fleets"})),
            "no fault proxy http-pricing",
        ),
        ("leader_lost", replace(EVERYTHING, broker_nodes=1), ONE_NODE),
    ],
)
def test_what_the_suite_lacks_is_said_once(name: str, has: SuiteCapabilities, why_not: str) -> None:
    said = unavailable_reason(FAULT_CATALOGUE[name], has)
    assert said.count(why_not) == 1, said


def test_a_fault_of_a_part_needs_no_process_of_its_name() -> None:
    assert Need.CONTROL in FAULT_CATALOGUE["broker_kill"].needs
    assert unavailable_reason(FAULT_CATALOGUE["broker_kill"], replace(EVERYTHING, processes=frozenset())) == ""


def binding(exchange: str, key: str, queue: str) -> dict[str, Any]:
    return {"source": exchange, "routing_key": key, "destination": queue}


def test_where_services_publish_to_is_read_off_the_bindings() -> None:
    bindings = [
        binding("", "pricing.one_way_requests.quote_fare", "pricing.one_way_requests.quote_fare"),
        binding("events", "request.quote_fare", "pricing.one_way_requests.quote_fare"),
        binding("events", "request.quote_fare", "archive"),
        binding("requests", "quote_fare", "pricing.requests.quote_fare"),
        binding("redeliver", "pricing.requests.quote_fare", "pricing.requests.quote_fare"),
        binding("parking", "#", "parked"),
        binding("partitions", "1", "pricing.requests.quote_fare"),
    ]
    found = publishable_bindings(bindings, ["", "events", "requests", "redeliver", "parking"])
    assert {(each.exchange, each.routing_key) for each in found} == {
        ("events", "request.quote_fare"),
        ("requests", "quote_fare"),
    }
    assert unshared_bindings(found) == (QueueBinding("requests", "quote_fare", "pricing.requests.quote_fare"),)
    assert {each.queue for each in request_bindings("pricing", found)} == {
        "pricing.one_way_requests.quote_fare",
        "pricing.requests.quote_fare",
    }
    assert request_bindings("fleets", found) == ()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_filler_is_a_request_that_nobody_waits_for(flow: str) -> None:
    message = expired_request(f"request.{flow}")
    envelope = decode(WireMessage({name: str(value) for name, value in message.headers.items()}, message.body))
    assert envelope.flow == flow
    assert type(envelope.body) is FLOWS[flow].request_type
    assert envelope.is_expired(datetime.now(UTC))


def test_the_header_that_a_clock_is_read_from_is_the_suites() -> None:
    assert clock_skew.FIRST_FAILED_AT_HEADER == headers.FIRST_FAILED_AT_HEADER


@pytest.mark.parametrize("poison", [poison for poison in POISONS if not poison.retried], ids=lambda each: each.cause)
def test_poison_is_what_it_is_called(poison: Any) -> None:
    with pytest.raises(Malformed) as malformed:
        decode(WireMessage(message_headers(NOTIFY_RIDER.name, poison.type, "m"), poison.body))
    assert malformed.value.cause == poison.cause


def test_what_always_fails_looks_like_any_other() -> None:
    (always,) = (poison for poison in POISONS if poison.retried)
    envelope = decode(WireMessage(message_headers(NOTIFY_RIDER.name, MESSAGE_TYPES["notify_rider"], "m"), always.body))
    assert type(envelope.body) is NOTIFY_RIDER.request_type
    assert VALID_BODIES["notify_rider"] != always.body


@pytest.mark.parametrize(("cause", "attempts"), [("bad_json", 2), ("wrong_schema", 1)])
def test_poison_that_is_parked_otherwise_is_no_proof(cause: str, attempts: int) -> None:
    with pytest.raises(NoEffect, match="bad_json"):
        evidence_text([parked(cause, attempts)], POISONS[:1])


def test_poison_that_is_parked_as_it_should_be_is() -> None:
    lines = [parked(each.cause, 4 if each.retried else 1) for each in POISONS]
    assert "attempts_exhausted after 4 attempts" in evidence_text(lines, POISONS)


def parked(cause: str, attempts: int) -> DeadLetterSummary:
    texts = (
        "failure_group",
        "error_type",
        "error",
        "queue",
        "exchange",
        "routing_key",
        "flow",
        "kind",
        "type",
        "message_id",
    )
    blank: dict[str, Any] = dict.fromkeys((*texts, "conversation_id", "trace_id", "reason"), "")
    now = datetime.now(UTC)
    numbers: dict[str, Any] = {"id": 1, "attempts": attempts, "times_parked": 1, "payload_bytes": 1, "version": 0}
    return DeadLetterSummary(
        **blank, **numbers, state=DeadLetterState.PARKED, cause=cause, first_failed_at=now, last_failed_at=now
    )


def test_the_node_that_leads_most_is_lost() -> None:
    assert busiest_leader({"a": "one", "b": "two", "c": "two"}) == "two"
    with pytest.raises(NoEffect):
        busiest_leader({})


def test_every_kind_is_in_the_catalogue() -> None:
    assert {fault.kind for fault in FAULT_CATALOGUE.values()} == set(FaultKind)
