"""The knee that the committed costs predict, beside capacities that were measured on two quiet cores."""

import pytest

from prebook.contracts.plan import Coupling
from prebook.lab.capacity.command import COSTS_FILE
from prebook.lab.capacity.costs import read_costs
from prebook.lab.capacity.simulation import simulate_burst
from prebook.lab.capacity.stages import machine_processors
from prebook.lab.capacity.verdict import TOLERANCE

CORES = 2.0
KNEES = {"docs/results/ride.md": 68.0, "docs/results/burst.md": 72.0}
BURST_PER_S = 360.0
BURST_SETTLED_PER_S = 67.0
"""Of the burst in docs/results/burst.md, with back pressure on."""


@pytest.mark.parametrize(("page", "knee_per_s"), KNEES.items())
def test_the_predicted_knee_is_within_a_fifth_of_the_measured_one(page: str, knee_per_s: float) -> None:
    predicted = read_costs(COSTS_FILE, Coupling.REQUEST_REPLY).max_rides_per_s(CORES)
    assert predicted == pytest.approx(knee_per_s, rel=TOLERANCE), page


def test_the_simulated_burst_settles_what_the_measured_one_did() -> None:
    processors = machine_processors(read_costs(COSTS_FILE, Coupling.REQUEST_REPLY), CORES)
    outcome = simulate_burst(processors, [BURST_PER_S] * 60, steady_per_s=36.0)
    assert outcome.settled_per_s == pytest.approx(BURST_SETTLED_PER_S, rel=TOLERANCE)
    assert outcome.oldest_s < 5.9, "the oldest message of the measured burst; the simulation knows no fluctuation"
