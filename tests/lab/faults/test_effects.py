"""Every fault of the catalogue has an effect on flows: whose work it delays, over which transports."""

import pytest

from prebook.flows import PROCESSES
from prebook.lab.faults import FAULT_CATALOGUE, FaultKind
from prebook.lab.faults.clock_skew import SKEW_S
from prebook.lab.faults.effects import (
    EFFECT_OF_TARGET,
    HARMLESS_KINDS,
    NO_EFFECT,
    TRANSPORT_OF_COUPLING,
    WAITING_COUPLINGS,
    Transport,
    effect_of,
)


def delayed(name: str, *services: str) -> set[Transport]:
    """Return the transports over which the fault ``name`` delays work of ``services``."""
    effect = effect_of(FAULT_CATALOGUE[name])
    return {transport for transport in Transport if effect.delays(services, transport)}


@pytest.mark.parametrize("name", FAULT_CATALOGUE)
def test_every_fault_delays_work_or_is_harmless(name: str) -> None:
    fault = FAULT_CATALOGUE[name]
    effect = effect_of(fault)
    assert (effect == NO_EFFECT) == (fault.kind in HARMLESS_KINDS)
    assert effect.services <= set(PROCESSES)
    assert effect.clock_skew_s == (SKEW_S if fault.kind is FaultKind.CLOCK_SKEW else 0.0)


def test_every_target_of_the_catalogue_has_an_effect_and_no_other() -> None:
    assert {fault.target for fault in FAULT_CATALOGUE.values()} == set(EFFECT_OF_TARGET)


def test_a_fault_of_a_process_delays_its_work_over_every_transport_and_nobody_elses() -> None:
    for name in ("kill_pricing", "pause_pricing", "brownout_pricing", "clock_skew_pricing", "queue_full"):
        assert delayed(name, "pricing", "booking") == {*Transport}
        assert delayed(name, "booking", "matching") == set()


def test_broker_database_and_links_delay_what_needs_them() -> None:
    for name in ("broker_kill", "broker_restart", "memory_alarm", "connections_cut"):
        assert delayed(name, "matching", "fleets") == {Transport.BROKER}
    assert delayed("database_kill", "matching", "fleets") == {*Transport}
    assert delayed("link_cut_pricing_broker", "pricing") == {Transport.BROKER}
    assert delayed("link_slow_pricing_database", "pricing") == {*Transport}
    assert delayed("link_black_hole_http_pricing", "pricing") == {Transport.HTTP}
    assert delayed("link_black_hole_http_pricing", "booking", "matching") == set()


def test_more_messages_delay_nothing() -> None:
    assert delayed("poison", *PROCESSES) == delayed("duplicate_everything", *PROCESSES) == set()


def test_a_crashing_poison_ends_its_process_and_disturbs_no_other() -> None:
    assert effect_of(FAULT_CATALOGUE["crashing_poison"]).ends_processes
    assert delayed("crashing_poison", "notification", "booking") == {*Transport}
    assert delayed("crashing_poison", *(service for service in PROCESSES if service != "notification")) == set()


def test_every_coupling_has_a_transport_and_only_sync_api_does_not_wait() -> None:
    assert {coupling.value for coupling in WAITING_COUPLINGS} == {"async_api", "one_way", "request_reply"}
    assert {coupling.value for coupling, transport in TRANSPORT_OF_COUPLING.items() if transport == "http"} == {
        "sync_api",
        "async_api",
    }
