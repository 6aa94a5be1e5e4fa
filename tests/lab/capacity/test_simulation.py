"""The simulation conserves rides, settles what its processors allow, and bounds the age of requests by admission."""

from dataclasses import replace

import pytest

from prebook.lab.capacity.costs import MS_PER_S
from prebook.lab.capacity.simulation import RideSimulation, simulate_burst
from prebook.lab.capacity.stages import STAGES, cell_processors, machine_processors
from tests.lab.capacity.capacities import COSTS, MODEL

CORES = 4.0
KNEE = COSTS.max_rides_per_s(CORES)


def test_below_the_knee_every_ride_is_settled_at_once() -> None:
    outcome = simulate_burst(machine_processors(COSTS, CORES), [0.8 * KNEE] * 20, steady_per_s=0.8 * KNEE)
    assert outcome.refused == pytest.approx(0.0, abs=1e-6)
    assert outcome.settled_per_s == pytest.approx(0.8 * KNEE, rel=0.03)
    assert outcome.oldest_s < 0.5


def test_beyond_the_knee_the_machine_settles_what_it_can_and_refuses_the_rest() -> None:
    outcome = simulate_burst(machine_processors(COSTS, CORES), [3 * KNEE] * 40, steady_per_s=0.5 * KNEE)
    assert 0.7 * KNEE < outcome.settled_per_s <= KNEE
    assert outcome.refused > KNEE * 40
    assert outcome.oldest_s < 6.0, "admission bounds the age of requests"
    assert outcome.drained_after_s < 10


def test_without_admission_the_age_grows_with_the_burst() -> None:
    processors = machine_processors(COSTS, CORES)
    short, long = (
        simulate_burst(processors, [3 * KNEE] * seconds, steady_per_s=0.5 * KNEE, has_admission=False).oldest_s
        for seconds in (10, 20)
    )
    assert long > 1.5 * short > 10.0


@pytest.mark.parametrize("has_admission", [True, False])
def test_no_ride_is_lost_or_doubled(has_admission: bool) -> None:
    outcome = simulate_burst(
        machine_processors(COSTS, CORES), [2 * KNEE] * 10, steady_per_s=0.0, has_admission=has_admission
    )
    accepted = sum(second.accepted for second in outcome.seconds)
    settled = sum(second.settled for second in outcome.seconds)
    assert settled == pytest.approx(accepted, abs=1.0)
    assert sum(second.offered for second in outcome.seconds) == pytest.approx(accepted + outcome.refused)


def test_no_pool_of_processors_does_more_than_it_can() -> None:
    simulation = RideSimulation(machine_processors(COSTS, CORES), has_admission=False)
    seconds = [simulation.run_second(3 * KNEE) for _ in range(10)]
    for second in seconds:
        for stage, handled in zip(STAGES, second.handled, strict=True):
            cores = handled * stage.share * COSTS.processes[stage.service].ms_per_ride / MS_PER_S
            assert cores <= 1.0 - COSTS.processes[stage.service].standing_cores + 1e-6


def test_a_cell_settles_its_rate_and_survives_a_burst_by_refusing() -> None:
    processors = cell_processors(MODEL, 1000.0)
    assert simulate_burst(processors, [1000.0] * 10, steady_per_s=1000.0).settled_per_s == pytest.approx(
        1000.0, rel=0.05
    )
    burst = simulate_burst(processors, [5000.0] * 20, steady_per_s=500.0)
    assert burst.settled_per_s > 1000.0
    assert burst.oldest_s < 6.0


def test_fewer_cores_of_one_service_bound_all_rides() -> None:
    processors = cell_processors(MODEL, 1000.0)
    starved = replace(processors, cores={**processors.cores, "pricing": 1.0})
    assert simulate_burst(starved, [1000.0] * 20, steady_per_s=100.0).settled_per_s < 250.0
