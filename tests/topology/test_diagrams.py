"""Diagrams: complete, deterministic, with pushed and pulled arrows."""

from xml.etree import ElementTree as ET

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.topology.diagrams import SWIMLANE_ORDER, mermaid_diagram, svg_diagram, swimlanes
from prebook.topology.model import plan_topology
from prebook.topology.values import Topology

SVG = "{http://www.w3.org/2000/svg}"
LEGEND_ARROWS = 1
"""Arrows of each kind in the legend."""


def _topology_of(coupling: Coupling) -> Topology:
    return plan_topology(dict.fromkeys(FLOWS, coupling))


@pytest.mark.parametrize("coupling", Coupling)
def test_the_svg_has_each_arrow_once_and_dashes_pulled_ones(coupling: Coupling) -> None:
    svg = ET.fromstring(svg_diagram(_topology_of(coupling), title="T", subtitle="S"))  # noqa: S314 - trusted input
    lines = [path.get("class") for path in svg.iter(f"{SVG}path") if "line" in str(path.get("class"))]
    arrows = _topology_of(coupling).arrows
    assert lines.count("line pulled") == len([x for x in arrows if x.pulled]) + LEGEND_ARROWS
    assert lines.count("line") == len([x for x in arrows if not x.pulled]) + LEGEND_ARROWS


def test_the_svg_is_scalable_and_described_for_screen_readers() -> None:
    svg = ET.fromstring(svg_diagram(_topology_of(Coupling.ONE_WAY), title="T <&>", subtitle="S"))  # noqa: S314 - trusted input
    assert str(svg.get("viewBox")).startswith("0 0 ")
    assert svg.findtext(f"{SVG}title") == "T <&>"
    assert "booking to prebook.events to pricing.one_way_requests.quote_fare to pricing" in str(
        svg.findtext(f"{SVG}desc")
    )


def test_the_same_topology_gives_the_same_svg() -> None:
    first, second = (svg_diagram(_topology_of(Coupling.REQUEST_REPLY), title="T", subtitle="S") for _ in range(2))
    assert first == second


def test_mermaid_distinguishes_pushed_and_pulled_arrows() -> None:
    text = mermaid_diagram(plan_topology({"quote_fare": Coupling.REQUEST_REPLY}, [FLOWS["quote_fare"]], ()))
    assert '    booking -->|"quote_fare"| prebook_requests\n' in text
    assert "    pricing_requests_quote_fare -.-> pricing\n" in text


@pytest.mark.parametrize("coupling", Coupling)
def test_swimlanes_contain_every_arrow(coupling: Coupling) -> None:
    topology = _topology_of(coupling)
    assert {
        arrow for lane in swimlanes(topology, SWIMLANE_ORDER) for row in lane.rows for arrow in row.arrows
    } == topology.arrows
