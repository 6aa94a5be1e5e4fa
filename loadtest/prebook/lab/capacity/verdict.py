"""The model's predictions beside the measurement of a machine. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from prebook.lab.capacity.costs import ProcessCost, RideCosts, costs_of, fit_cost
from prebook.lab.capacity.recording import CapacityRecording
from prebook.lab.capacity.simulation import simulate_burst
from prebook.lab.capacity.stages import machine_processors

TOLERANCE = 0.2
"""Largest difference between a prediction and its measurement, as a share of the measurement."""
GENERATOR = "generator"


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the model and the measured one."""

    name: str
    unit: str
    predicted: float
    measured: float
    tolerance: float | None
    """Largest accepted difference as a share of the measured figure; null: shown, and not judged."""

    @property
    def ratio(self) -> float:
        """Predicted figure as a share of the measured one."""
        return self.predicted / self.measured if self.measured else float("inf")

    @property
    def ok(self) -> bool:
        """Whether the difference is accepted."""
        return self.tolerance is None or abs(self.ratio - 1.0) <= self.tolerance


def predictions(recording: CapacityRecording) -> Sequence[Prediction]:
    """Compare the knee, and a burst of the recorded rate, with what was measured."""
    costs = costs_of(recording.plan, recording.costs, "recording")
    knee_per_s = predict_knee(costs, recording)
    burst = recording.burst
    processors = machine_processors(costs, recording.cores, generator_cost(recording).ms_per_ride)
    offered = [float(second.offered) for second in burst.seconds]
    simulated = simulate_burst(processors, offered, steady_per_s=knee_per_s / 2)
    return (
        Prediction(
            name="knee",
            unit="rides/s",
            predicted=knee_per_s,
            measured=recording.costs.plans[recording.plan].knee_per_s,
            tolerance=TOLERANCE,
        ),
        Prediction(
            name=f"settled in a burst of {burst.rides_per_s:.0f} rides/s",
            unit="rides/s",
            predicted=sum(second.settled for second in simulated.seconds[: burst.duration_s]) / burst.duration_s,
            measured=burst.settled_per_s,
            tolerance=TOLERANCE,
        ),
        Prediction(
            name="oldest request in the burst",
            unit="s",
            predicted=simulated.oldest_s,
            measured=burst.oldest_s,
            tolerance=None,
        ),
    )


def predict_knee(costs: RideCosts, recording: CapacityRecording) -> float:
    """Return the rate at which suite and load generator together use all cores of the recorded machine."""
    processes = {**costs.processes, GENERATOR: generator_cost(recording)}
    return replace(costs, processes=processes).max_rides_per_s(recording.cores)


def generator_cost(recording: CapacityRecording) -> ProcessCost:
    """Return the cost of a request at the load generator."""
    return fit_cost(recording.generator_ms, recording.generator_busy_ms)
