"""Cost of a ride by process, as a line over the rate: what a process uses without rides, and what each ride adds.

A process that is busier spends less on a ride, since waiting messages share transactions. Two measured rates give the
line; with one, every ride costs as much as there, which is the dearer assumption.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.lab.bench.subjects.ride_baseline import PlanBaseline, RideBaseline, read_baseline
from prebook.lab.bench.subjects.ride_figures import BUSY_PER_S, STEADY_PER_S

BROKER = "broker"
DATABASE = "database"
MS_PER_S = 1000.0
COSTS_REMEDY = "measure it: prebook bench --only ride --save-baseline FILE"


@dataclass(frozen=True)
class ProcessCost:
    """Processor time of one process."""

    standing_cores: float
    """Cores used without any ride."""
    ms_per_ride: float
    """Milliseconds that each ride adds."""

    def cores(self, rides_per_s: float) -> float:
        """Return the cores used at a rate, by one process."""
        return self.standing_cores + rides_per_s * self.ms_per_ride / MS_PER_S

    def max_rides_per_s(self, cores: float) -> float:
        """Return the rate at which one process uses ``cores``."""
        return max(0.0, cores - self.standing_cores) * MS_PER_S / self.ms_per_ride


@dataclass(frozen=True)
class RideCosts:
    """Measured costs of a ride by one plan. ``source``: file and date of the measurement."""

    plan: str
    source: str
    processes: Mapping[str, ProcessCost]
    """Cost of each service, of the broker and of the database."""
    counts: Mapping[str, float]
    """Broker messages, transactions, statements and WAL bytes of a ride."""
    knee_per_s: float
    """Rides settled per second at the knee of the measured machine."""

    def max_rides_per_s(self, cores: float) -> float:
        """Return the rate at which all processes together use ``cores``: the knee of one machine."""
        standing = sum(cost.standing_cores for cost in self.processes.values())
        ms_per_ride = sum(cost.ms_per_ride for cost in self.processes.values())
        return ProcessCost(standing, ms_per_ride).max_rides_per_s(cores)


def fit_cost(steady_ms: float, busy_ms: float | None = None) -> ProcessCost:
    """Return the line through the CPU times per ride at STEADY_PER_S and BUSY_PER_S.

    A busy cost above the steady one, which is noise, or none gives a line through zero.
    """
    if busy_ms is None or busy_ms >= steady_ms:
        return ProcessCost(0.0, max(steady_ms, busy_ms or 0.0))
    ms_per_ride = (BUSY_PER_S * busy_ms - STEADY_PER_S * steady_ms) / (BUSY_PER_S - STEADY_PER_S)
    if ms_per_ride <= 0:  # less in all at twice the rate: no line, and too little to matter
        return ProcessCost(STEADY_PER_S * steady_ms / MS_PER_S, busy_ms)
    return ProcessCost(STEADY_PER_S * (steady_ms - ms_per_ride) / MS_PER_S, ms_per_ride)


def costs_of(plan: str, baseline: RideBaseline, file_name: str) -> RideCosts:
    """Return the costs of a plan.

    Raises:
        UserError: The file does not have the plan, or a process.
    """
    figures = baseline.plans.get(plan)
    if figures is None:
        raise UserError(f"{file_name} has no costs of {plan}, only of {', '.join(baseline.plans)}", COSTS_REMEDY)
    if missing := sorted({*PROCESSES, BROKER, DATABASE} - figures.cpu_ms.keys()):
        raise UserError(f"{file_name} has no cost of {', '.join(missing)}", COSTS_REMEDY)
    return RideCosts(
        plan=plan,
        source=f"{file_name}, {baseline.measured_on}, {baseline.machine}, {baseline.versions}",
        processes=_process_costs(figures),
        counts=figures.counts,
        knee_per_s=figures.knee_per_s,
    )


def read_costs(path: Path, plan: str) -> RideCosts:
    """Read the costs of a plan from a file of ``prebook bench --only ride --save-baseline``. Raises UserError."""
    try:
        baseline = read_baseline(path)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", COSTS_REMEDY) from error
    return costs_of(plan, baseline, path.name)


def _process_costs(figures: PlanBaseline) -> dict[str, ProcessCost]:
    return {name: fit_cost(steady_ms, figures.busy_cpu_ms.get(name)) for name, steady_ms in figures.cpu_ms.items()}
