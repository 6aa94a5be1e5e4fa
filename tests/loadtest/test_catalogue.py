"""The catalogue of faults, and what is decided about them without touching anything."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from prebook.contracts.dead_letters import ParkedLine, ParkedState
from prebook.flows import FLOWS, NOTIFY_RIDER, PROCESSES, SERVICES
from prebook.lab.faults import CATALOGUE, Fault, FaultKind, Need, NoEffect
from prebook.lab.faults.availability import NO_CONTROL, NO_LINKS, ONE_NODE, Abilities, lacking
from prebook.lab.faults.broker_channel import Address, alone, published
from prebook.lab.faults.catalogue import LINKED
from prebook.lab.faults.cluster import most_leading
from prebook.lab.faults.injection import INJECTIONS
from prebook.lab.faults.messages import BODIES, POISONS, TYPES, filler, headers
from prebook.lab.faults.poison import told
from prebook.lab.faults.queue_full import of_requests
from prebook.messaging.codec import Malformed, Wire, decode

EVERYTHING = Abilities(
    processes=frozenset(PROCESSES), parts=frozenset({"broker", "database"}), links=frozenset(LINKED), nodes=3
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
    *(f"link_{how}_{at}" for how in ("slow", "cut", "black_hole", "half_open") for at in AT),
}


def test_the_names_are_stable() -> None:
    assert set(CATALOGUE) == NAMES
    assert all(name == fault.name for name, fault in CATALOGUE.items())


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=lambda fault: fault.name)
def test_each_says_what_to_expect_and_can_be_carried_out(fault: Fault) -> None:
    assert fault.kind in INJECTIONS
    assert fault.needs
    assert fault.expect.endswith(".")
    assert len(fault.expect) > 60
    assert lacking(fault, EVERYTHING) == ""


@pytest.mark.parametrize(
    ("name", "has", "why_not"),
    [
        ("kill_pricing", replace(EVERYTHING, no_control=NO_CONTROL), NO_CONTROL),
        ("kill_pricing", replace(EVERYTHING, processes=frozenset({"booking"})), "no process pricing"),
        ("broker_kill", replace(EVERYTHING, parts=frozenset()), "did not start the broker"),
        ("memory_alarm", replace(EVERYTHING, no_amqp="no address"), "no address"),
        ("poison", replace(EVERYTHING, processes=frozenset(SERVICES)), "no operations"),
        ("connections_cut", replace(EVERYTHING, no_management="no API"), "no API"),
        ("link_cut_http_pricing", replace(EVERYTHING, links=frozenset()), NO_LINKS),
        ("link_cut_http_pricing", replace(EVERYTHING, links=frozenset({"http-fleets"})), "no link http-pricing"),
        ("leader_lost", replace(EVERYTHING, nodes=1), ONE_NODE),
    ],
)
def test_what_the_suite_lacks_is_said_once(name: str, has: Abilities, why_not: str) -> None:
    said = lacking(CATALOGUE[name], has)
    assert said.count(why_not) == 1, said


def test_a_fault_of_a_part_needs_no_process_of_its_name() -> None:
    assert Need.CONTROL in CATALOGUE["broker_kill"].needs
    assert lacking(CATALOGUE["broker_kill"], replace(EVERYTHING, processes=frozenset())) == ""


def binding(exchange: str, key: str, queue: str) -> dict[str, Any]:
    return {"source": exchange, "routing_key": key, "destination": queue}


def test_where_services_publish_to_is_read_off_the_bindings() -> None:
    bindings = [
        binding("", "pricing.events.quote_fare", "pricing.events.quote_fare"),
        binding("events", "asked.quote_fare", "pricing.events.quote_fare"),
        binding("events", "asked.quote_fare", "archive"),
        binding("requests", "quote_fare", "pricing.requests.quote_fare"),
        binding("redeliver", "pricing.requests.quote_fare", "pricing.requests.quote_fare"),
        binding("parking", "#", "parked"),
        binding("partitions", "1", "pricing.requests.quote_fare"),
    ]
    found = published(bindings, ["", "events", "requests", "redeliver", "parking"])
    assert {(each.exchange, each.key) for each in found} == {("events", "asked.quote_fare"), ("requests", "quote_fare")}
    assert alone(found) == (Address("requests", "quote_fare", "pricing.requests.quote_fare"),)
    assert {each.queue for each in of_requests("pricing", found)} == {
        "pricing.events.quote_fare",
        "pricing.requests.quote_fare",
    }
    assert of_requests("fleets", found) == ()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_filler_is_a_request_that_nobody_waits_for(flow: str) -> None:
    message = filler(f"asked.{flow}")
    envelope = decode(Wire({name: str(value) for name, value in message.headers.items()}, message.body))
    assert envelope.flow == flow
    assert type(envelope.body) is FLOWS[flow].request
    assert envelope.expired(datetime.now(UTC))


@pytest.mark.parametrize("poison", [poison for poison in POISONS if not poison.retried], ids=lambda each: each.cause)
def test_poison_is_what_it_is_called(poison: Any) -> None:
    with pytest.raises(Malformed) as malformed:
        decode(Wire(headers(NOTIFY_RIDER.name, poison.type, "m"), poison.body))
    assert malformed.value.cause == poison.cause


def test_what_always_fails_looks_like_any_other() -> None:
    (always,) = (poison for poison in POISONS if poison.retried)
    envelope = decode(Wire(headers(NOTIFY_RIDER.name, TYPES["notify_rider"], "m"), always.body))
    assert type(envelope.body) is NOTIFY_RIDER.request
    assert BODIES["notify_rider"] != always.body


@pytest.mark.parametrize(("cause", "attempts"), [("bad_json", 2), ("wrong_schema", 1)])
def test_poison_that_is_parked_otherwise_is_no_proof(cause: str, attempts: int) -> None:
    with pytest.raises(NoEffect, match="bad_json"):
        told([parked(cause, attempts)], POISONS[:1])


def test_poison_that_is_parked_as_it_should_be_is() -> None:
    lines = [parked(each.cause, 4 if each.retried else 1) for each in POISONS]
    assert "attempts_used_up after 4 attempts" in told(lines, POISONS)


def parked(cause: str, attempts: int) -> ParkedLine:
    texts = ("group", "error_type", "error", "queue", "exchange", "key", "flow", "kind", "type", "message_id")
    blank: dict[str, Any] = dict.fromkeys((*texts, "conversation", "trace_id", "reason"), "")
    now = datetime.now(UTC)
    numbers: dict[str, Any] = {"id": 1, "attempts": attempts, "parkings": 1, "payload_bytes": 1, "version": 0}
    return ParkedLine(
        **blank, **numbers, state=ParkedState.PARKED, cause=cause, first_failed_at=now, last_failed_at=now
    )


def test_the_node_that_leads_most_is_lost() -> None:
    assert most_leading({"a": "one", "b": "two", "c": "two"}) == "two"
    with pytest.raises(NoEffect):
        most_leading({})


def test_every_kind_is_in_the_catalogue() -> None:
    assert {fault.kind for fault in CATALOGUE.values()} == set(FaultKind)
