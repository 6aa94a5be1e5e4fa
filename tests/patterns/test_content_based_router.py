"""Content-based router: every message on one route or unroutable, and overlapping routes refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.content_based_router import ContentBasedRouter, OverlappingRoutes, Route

LARGE = Route("large", {"class": frozenset({"xl"})})
NORTH = Route("north", {"class": frozenset({"standard", "comfort"}), "zone": frozenset({"n"})})
SOUTH = Route("south", {"class": frozenset({"standard"}), "zone": frozenset({"s", "t"})})

VALUES = {"class": ("xl", "standard", "comfort"), "zone": ("n", "s", "t")}
ATTRIBUTES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})
ACCEPTED = st.frozensets(st.sampled_from(VALUES["class"] + VALUES["zone"]), min_size=1)
CRITERIA = st.dictionaries(st.sampled_from(["class", "zone"]), ACCEPTED)
Criteria = dict[str, frozenset[str]]


@pytest.mark.parametrize(
    ("attributes", "route"),
    [
        ({"class": "xl", "zone": "n"}, "large"),
        ({"class": "xl"}, "large"),
        ({"class": "comfort", "zone": "n"}, "north"),
        ({"class": "comfort", "zone": "s"}, None),
        ({"class": "standard", "zone": "t"}, "south"),
        ({"zone": "n"}, None),
        ({}, None),
    ],
)
def test_a_message_goes_to_the_route_whose_criteria_it_meets(attributes: dict[str, str], route: str | None) -> None:
    for routes in ([LARGE, NORTH, SOUTH], [SOUTH, NORTH, LARGE]):
        assert ContentBasedRouter(routes).route(attributes) == route


@pytest.mark.parametrize(
    "other",
    [
        Route("same", LARGE.criteria),
        Route("zone only", {"zone": frozenset({"n"})}),
        Route("more classes", {"class": frozenset({"xl", "comfort"}), "zone": frozenset({"s"})}),
        Route("everything", {}),
    ],
)
def test_overlapping_routes_are_refused_by_name(other: Route) -> None:
    with pytest.raises(OverlappingRoutes, match=f"large and {other.name}"):
        ContentBasedRouter([LARGE, other])


def test_a_route_without_criteria_may_be_the_only_one() -> None:
    assert ContentBasedRouter([Route("all", {})]).route({"class": "xl"}) == "all"


@given(st.lists(CRITERIA, max_size=4), ATTRIBUTES)
def test_disjoint_routes_take_each_message_once_at_most(criteria: list[Criteria], attributes: dict[str, str]) -> None:
    routes = [Route(str(number), own) for number, own in enumerate(criteria)]
    taking = [route.name for route in routes if route.takes(attributes)]
    try:
        router = ContentBasedRouter(routes)
    except OverlappingRoutes:
        assert any(a.overlaps(b) for a in routes for b in routes if a is not b)
    else:
        assert len(taking) <= 1
        assert router.route(attributes) == (taking[0] if taking else None)


@given(CRITERIA, ATTRIBUTES)
def test_a_route_takes_what_has_one_of_its_combinations(criteria: Criteria, attributes: dict[str, str]) -> None:
    route = Route("r", criteria)
    met = [values for values in route.combinations() if values.items() <= attributes.items()]
    assert route.takes(attributes) is (len(met) == 1)
