"""Pictures show every link, say who decides, and are the same every time."""

from xml.etree import ElementTree as ET

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.topology.diagrams import SWIMLANE_ORDER, mermaid_diagram, svg_diagram, swimlanes
from prebook.topology.model import plan_topology
from prebook.topology.values import Topology

SVG = "{http://www.w3.org/2000/svg}"
LEGEND_ARROWS = 1
"""Of each kind."""


def _all(coupling: Coupling) -> Topology:
    return plan_topology(dict.fromkeys(FLOWS, coupling))


@pytest.mark.parametrize("coupling", Coupling)
def test_the_picture_draws_each_link_once_and_dashes_what_is_pulled(coupling: Coupling) -> None:
    drawn = ET.fromstring(svg_diagram(_all(coupling), title="T", subtitle="S"))  # noqa: S314 - it is our own text
    lines = [path.get("class") for path in drawn.iter(f"{SVG}path") if "line" in str(path.get("class"))]
    links = _all(coupling).arrows
    assert lines.count("line pulled") == len([x for x in links if x.pulled]) + LEGEND_ARROWS
    assert lines.count("line") == len([x for x in links if not x.pulled]) + LEGEND_ARROWS


def test_the_picture_can_be_scaled_and_read_out() -> None:
    drawn = ET.fromstring(svg_diagram(_all(Coupling.ONE_WAY), title="T <&>", subtitle="S"))  # noqa: S314 - our own text
    assert str(drawn.get("viewBox")).startswith("0 0 ")
    assert drawn.findtext(f"{SVG}title") == "T <&>"
    assert "booking to prebook.events to pricing.one_way_requests.quote_fare to pricing" in str(
        drawn.findtext(f"{SVG}desc")
    )


def test_the_same_topology_gives_the_same_picture() -> None:
    once, again = (svg_diagram(_all(Coupling.REQUEST_REPLY), title="T", subtitle="S") for _ in range(2))
    assert once == again


def test_mermaid_tells_pushed_from_pulled() -> None:
    text = mermaid_diagram(plan_topology({"quote_fare": Coupling.REQUEST_REPLY}, [FLOWS["quote_fare"]], ()))
    assert '    booking -->|"quote_fare"| prebook_requests\n' in text
    assert "    pricing_requests_quote_fare -.-> pricing\n" in text


@pytest.mark.parametrize("coupling", Coupling)
def test_lanes_lose_no_link(coupling: Coupling) -> None:
    whole = _all(coupling)
    assert {
        link for lane in swimlanes(whole, SWIMLANE_ORDER) for row in lane.rows for link in row.arrows
    } == whole.arrows
