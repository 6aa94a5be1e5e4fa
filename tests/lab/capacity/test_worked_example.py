"""The worked examples in docs/capacity.md are what the model says with the committed costs."""

from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling
from prebook.lab.capacity.assumptions import Assumptions
from prebook.lab.capacity.command import COSTS_FILE, read_deployment
from prebook.lab.capacity.costs import read_costs
from prebook.lab.capacity.sizing import CapacityModel
from prebook.lab.capacity.walls import find_walls

PAGE = Path(__file__).parents[3] / "docs" / "capacity.md"
REMEDY = "run `prebook capacity --rides 1000`, and correct docs/capacity.md"


@pytest.fixture(scope="module")
def model() -> CapacityModel:
    costs = read_costs(COSTS_FILE, Coupling.REQUEST_REPLY)
    return CapacityModel(Coupling.REQUEST_REPLY, costs, read_deployment(), Assumptions())


def test_the_figures_of_a_cell_are_on_the_page(model: CapacityModel) -> None:
    cell = model.size(1000.0).cell
    replicas = ", ".join(f"{size.service} {size.replicas}" for size in cell.services)
    page = PAGE.read_text()
    for text in (
        f"{replicas}: {cell.replicas}, on {cell.service_nodes} nodes of 16 cores",
        f"{cell.broker.queue_leaders_per_node} queue leaders each; {cell.broker.cores_per_node:.1f} cores each",
        f"{cell.broker.cores_per_node_with_one_lost:.1f} while one is lost",
        f"{cell.database.primary_cores:.1f} cores of the primary; {cell.database.transactions_per_s:,.0f} transactions",
        f"{cell.database.connections}, and {cell.database.connections_at_roll_out} during a roll-out",
        f"{100 * cell.replicas:,} replicas on {100 * cell.service_nodes} nodes",
    ):
        assert text in " ".join(page.split()), f"{text}: {REMEDY}"


def test_the_walls_of_a_cell_are_on_the_page(model: CapacityModel) -> None:
    rounded = [f"| {round(wall.rides_per_s, -1):,.0f} |" for wall in find_walls(model)[:5]]
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(tuple(rounded))]
    assert [line.split(" |")[0] + " |" for line in lines] == rounded, REMEDY


def test_a_cell_of_the_examples_is_below_every_wall(model: CapacityModel) -> None:
    assert find_walls(model)[0].rides_per_s > model.assumptions.cell_rides_per_s
