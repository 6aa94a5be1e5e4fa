"""Committed pictures equal what the model draws; every arrow has a side that decides when; two views of one model."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from prebook.cli.topology import load_model, topology
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, NOTIFY_RIDER
from prebook.messaging.policy import default_plan, read_policies
from prebook.topology.model import plan_topology
from prebook.topology.pictures import committed_pictures, coupling_picture, resource_picture
from prebook.topology.resource_view import resource_groups, resource_mermaid

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
COUPLINGS_FILE = ROOT / "deploy" / "couplings.toml"
SUITE = load_model(COUPLINGS_FILE)
PICTURES = committed_pictures(default_plan(read_policies(COUPLINGS_FILE)), SUITE)
ARROW = re.compile(r'<g data-arrow="([^"]*)"><path class="line( pulled)?"')


@pytest.mark.parametrize("name", PICTURES)
def test_a_committed_picture_is_what_the_model_draws(name: str) -> None:
    assert (FOLDER / name).read_text() == PICTURES[name], "run `make docs`, and review the pictures"


def test_no_other_picture_is_committed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == PICTURES.keys()


@pytest.mark.parametrize("coupling", Coupling)
def test_every_arrow_of_a_committed_picture_has_a_side_that_decides(coupling: Coupling) -> None:
    arrows = plan_topology(dict.fromkeys(FLOWS, coupling)).arrows
    drawn = ARROW.findall((FOLDER / f"{coupling}.svg").read_text())
    assert len(drawn) == len(arrows)
    assert sum(bool(pulled) for _, pulled in drawn) == sum(arrow.pulled for arrow in arrows)


def test_a_picture_without_the_newest_flow_is_another_one() -> None:
    outdated = {name: flow for name, flow in FLOWS.items() if flow is not NOTIFY_RIDER}
    plan = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
    assert plan_topology(plan, outdated.values()).arrows < plan_topology(plan).arrows
    assert "notify_rider" in coupling_picture(Coupling.ONE_WAY)


def test_the_resource_view_has_every_exchange_queue_and_user_once() -> None:
    groups = {group.title: [resource.name for resource in group.resources] for group in resource_groups(SUITE)}
    queues = [name for title, names in groups.items() if title.startswith("queues of") for name in names]
    assert sorted(queues) == sorted(queue.name for queue in SUITE.queues)
    assert sorted(groups["exchanges"]) == sorted(exchange.name for exchange in SUITE.exchanges)
    assert "prebook_pricing" in groups["users"]
    assert groups["queues of pricing"] == sorted(q.name for q in SUITE.queues if q.consumer == "pricing")


def test_both_views_name_the_same_exchanges_and_queues() -> None:
    """Stops of the flow view are resources; what is in no flow, such as a delay queue, is a resource only."""
    resources = {resource.name for group in resource_groups(SUITE) for resource in group.resources}
    flows = plan_topology(dict.fromkeys(FLOWS, Coupling.ONE_WAY))
    stops = {end for arrow in flows.arrows for end in (arrow.source, arrow.target)} - {
        name for flow in FLOWS.values() for name in (flow.caller, flow.provider)
    }
    assert stops < resources
    assert "prebook.delay.200" in resources - stops


def test_a_changed_resource_changes_the_resource_view() -> None:
    fewer = replace(SUITE, bindings=frozenset(sorted(SUITE.bindings)[1:]))
    assert resource_picture(fewer) != resource_picture(SUITE)


def test_the_resource_picture_is_valid_and_described() -> None:
    svg = ET.fromstring(PICTURES["resources.svg"])  # noqa: S314 - trusted input
    assert "queues of booking: booking.events.0" in str(svg.findtext("{http://www.w3.org/2000/svg}desc"))


def test_the_command_draws_the_resources_in_both_formats() -> None:
    svg = CliRunner().invoke(topology, ["draw", "--view", "resources"])
    assert svg.stdout == PICTURES["resources.svg"]
    mermaid = CliRunner().invoke(topology, ["draw", "--view", "resources", "--format", "mermaid"])
    assert mermaid.stdout == resource_mermaid(SUITE)
    assert '    host --- group0["exchanges"]\n' in mermaid.stdout
