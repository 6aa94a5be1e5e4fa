"""Check of the coupling: seeded tight edges are found, each for its own reason, and nothing else is."""

import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prebook.cli.coupling.command import coupling_group
from prebook.contracts.fleets import AskFleet, FleetOffered
from prebook.contracts.plan import Coupling
from prebook.flows import (
    ALL_FLOWS,
    ASK_FLEET,
    BOOKING_CONFIRMED,
    EVENT_TYPES,
    FLOWS,
    NOTIFICATION,
    PRICING,
    EventType,
    Flow,
    Lookup,
    ServiceName,
)
from prebook.messaging.addresses import ARCHIVE_QUEUE
from prebook.topology.coupling_check import BLIND_SPOTS, Tightness, tight_edges
from prebook.topology.coupling_model import CouplingModel
from prebook.topology.external_edges import DISPATCH, PARTIES, Contact, ExternalEdge
from prebook.topology.values import ReadGrant
from tests.topology.coupling_examples import (
    COUPLINGS_FILE,
    LOOSE_EDGE,
    SMS_PROVIDER,
    SUITE,
    copied_quote,
    passed_on,
    plan_of,
    suite_with,
    untyped,
)

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
SMS = ServiceName("sms")
OUTSIDE = {**PARTIES, SMS: SMS_PROVIDER}
SMS_FLOW: Flow[Any, Any] = Flow("send_sms", NOTIFICATION, SMS, AskFleet, (FleetOffered,))


@dataclass(frozen=True)
class Seed:
    """A tight edge in an otherwise unchanged suite, and the one reason for which it must be found."""

    model: CouplingModel
    edge: str
    tightness: Tightness


def seeded(tightness: Tightness, **changes: Any) -> Seed:
    """Return a loose edge with ``changes`` that make it tight."""
    return Seed(suite_with(replace(LOOSE_EDGE, **changes)), LOOSE_EDGE.name, tightness)


def flow_to_outside() -> CouplingModel:
    plan = {**SUITE.plan, "send_sms": Coupling.ONE_WAY}
    return replace(SUITE, flows=(*ALL_FLOWS, SMS_FLOW), plan=plan, parties=OUTSIDE)


def event_to(subscriber: ServiceName) -> tuple[EventType[Any], ...]:
    return tuple(replace(e, subscribers=frozenset({subscriber})) if e is BOOKING_CONFIRMED else e for e in EVENT_TYPES)


SEEDS = {
    "the caller of the flow waits": Seed(
        replace(SUITE, plan=plan_of(ask_fleet=Coupling.SYNC_API)), "partner_offer", Tightness.SYNCHRONOUS
    ),
    "the caller of an earlier flow waits": Seed(
        replace(SUITE, plan=plan_of(find_driver=Coupling.SYNC_API)), "partner_offer", Tightness.SYNCHRONOUS_CHAIN
    ),
    "a call that nothing keeps": seeded(Tightness.UNBUFFERED, trigger=None),
    "a call without a limit": seeded(Tightness.UNLIMITED_WAIT, max_wait_s=None),
    "no translator": seeded(Tightness.NO_TRANSLATOR, sends=()),
    "a translator without types": seeded(Tightness.UNTYPED_TRANSLATOR, sends=(untyped,)),
    "a message is passed on": seeded(Tightness.SHARED_TYPE, sends=(passed_on,)),
    "a message inside another format": seeded(Tightness.SHARED_TYPE, sends=(copied_quote,)),
    "a message is accepted": seeded(Tightness.SHARED_TYPE, receives=(passed_on,)),
    "a party provides a flow": Seed(flow_to_outside(), "send_sms", Tightness.PARTY_IN_FLOW),
    "a party subscribes to an event": Seed(
        replace(SUITE, event_types=event_to(SMS), parties=OUTSIDE), "booking_confirmed", Tightness.PARTY_AS_SUBSCRIBER
    ),
    "a lookup at a party": Seed(
        replace(SUITE, lookups=(Lookup("balance", PRICING, SMS),), parties=OUTSIDE),
        "balance",
        Tightness.SYNCHRONOUS_LOOKUP,
    ),
    "a party looks data up": Seed(
        replace(SUITE, lookups=(Lookup("balance", SMS, PRICING),), parties=OUTSIDE),
        "balance",
        Tightness.NO_TRANSLATOR,
    ),
    "a subscriber without a party": Seed(
        replace(SUITE, event_types=event_to(ServiceName("tourism_office"))),
        "booking_confirmed",
        Tightness.UNDECLARED_PARTY,
    ),
    "an account without a party": Seed(
        replace(SUITE, read_grants=SUITE.read_grants | {ReadGrant("guest", ARCHIVE_QUEUE)}),
        "prebook.archive",
        Tightness.UNDECLARED_PARTY,
    ),
}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=list(SEEDS))
def test_a_seeded_edge_is_found_for_its_own_reason_and_nothing_else(seed: Seed) -> None:
    assert [(found.edge, found.tightness) for found in tight_edges(seed.model)] == [(seed.edge, seed.tightness)]


@pytest.mark.parametrize("seed", SEEDS.values(), ids=list(SEEDS))
def test_every_finding_says_what_to_do(seed: Seed) -> None:
    (found,) = tight_edges(seed.model)
    assert found.problem
    assert found.remedy
    assert str(found) == f"{seed.edge}: {seed.tightness}: {found.problem}; {found.remedy}"


def test_every_reason_is_seeded() -> None:
    assert {seed.tightness for seed in SEEDS.values()} == set(Tightness)


def test_a_synchronous_flow_to_a_party_is_found_for_both_reasons() -> None:
    model = flow_to_outside()
    model = replace(model, plan={**model.plan, "send_sms": Coupling.SYNC_API})
    assert [found.tightness for found in tight_edges(model)] == [Tightness.PARTY_IN_FLOW, Tightness.SYNCHRONOUS]


def test_a_plan_is_refused_exactly_if_a_caller_waits_for_partner_fleets() -> None:
    for couplings in product(Coupling, repeat=len(FLOWS)):
        plan = dict(zip(FLOWS, couplings, strict=True))
        waits = Coupling.SYNC_API in {plan["find_driver"], plan["ask_fleet"]}
        assert bool(tight_edges(replace(SUITE, plan=plan))) is waits, plan


@pytest.mark.parametrize(
    "edge",
    [
        LOOSE_EDGE,
        replace(LOOSE_EDGE, trigger=ASK_FLEET),
        replace(LOOSE_EDGE, contact=Contact.CALLS, trigger=None, max_wait_s=None),
        ExternalEdge(name="desk", near="desk_x", party=DISPATCH, contact=Contact.PULLS, trigger=BOOKING_CONFIRMED),
        replace(LOOSE_EDGE, party=DISPATCH, sends=(passed_on,), trigger=None, max_wait_s=None),
    ],
    ids=["event", "message flow", "the party calls", "a desk pulls", "medium control"],
)
def test_an_allowed_edge_is_no_finding(edge: ExternalEdge) -> None:
    assert tight_edges(suite_with(edge)) == []


def test_a_desk_of_low_control_may_not_read_the_event_itself() -> None:
    desk = ExternalEdge(
        name="desk", near="desk_x", party=SMS_PROVIDER, contact=Contact.PULLS, trigger=BOOKING_CONFIRMED
    )
    found = tight_edges(suite_with(desk))
    assert [each.tightness for each in found] == [Tightness.NO_TRANSLATOR, Tightness.SHARED_TYPE]


def test_the_accounts_of_configured_desks_belong_to_dispatch(tmp_path: Any) -> None:
    file = tmp_path / "couplings.toml"
    file.write_text(COUPLINGS_FILE.read_text() + '\n[desks.large]\nvehicle_classes = ["xl"]\n')
    done = CliRunner().invoke(coupling_group, ["check", "--policies", str(file)])
    assert done.exit_code == 0, done.output


def test_the_command_accepts_the_default_plan_and_lists_its_blind_spots() -> None:
    done = CliRunner().invoke(coupling_group, ["check"])
    assert done.exit_code == 0
    assert "no tight edges" in done.output
    assert all(blind_spot in done.output for blind_spot in BLIND_SPOTS)


def test_the_guide_lists_the_blind_spots() -> None:
    assert [spot for spot in BLIND_SPOTS if f"- {spot}\n" not in GUIDE.read_text()] == []


def test_the_command_refuses_a_plan_in_which_callers_wait_for_partners() -> None:
    done = CliRunner().invoke(coupling_group, ["check", "--coupling", "sync_api", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [each["tightness"] for each in found["findings"]] == [Tightness.SYNCHRONOUS, Tightness.SYNCHRONOUS_CHAIN]
    assert found["blind_spots"] == list(BLIND_SPOTS)
