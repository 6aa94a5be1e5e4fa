"""Figures of a suite as they are kept, to be compared with later."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from prebook.lab.bench.subjects.ride_figures import RideFigures


class PlanBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """Of one plan. ``cpu_ms`` by process, ``counts`` by what was counted, both for one ride."""

    cpu_ms: Mapping[str, float]
    counts: Mapping[str, float]
    knee_per_s: float


class RideBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """``plans``: by their names."""

    measured_on: str
    machine: str
    versions: str
    plans: Mapping[str, PlanBaseline]


def baseline_of(plans: Mapping[str, RideFigures], versions: str) -> RideBaseline:
    return RideBaseline(
        measured_on=datetime.now(UTC).date().isoformat(),
        machine=f"{os.cpu_count()} x {_read_cpu_model()}",
        versions=versions,
        plans={plan: _plan_baseline(figures) for plan, figures in plans.items()},
    )


def read_baseline(path: Path) -> RideBaseline:
    """Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=RideBaseline)


def write_baseline(path: Path, baseline: RideBaseline) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")


def figures_of(baseline: PlanBaseline, rounds: int) -> RideFigures:
    """As if every round had given the same."""
    spent = {name: [value] * rounds for name, value in baseline.cpu_ms.items()}
    return RideFigures(cpu_ms=spent, counts=baseline.counts, knee_per_s=baseline.knee_per_s)


def _plan_baseline(figures: RideFigures) -> PlanBaseline:
    return PlanBaseline(
        cpu_ms={name: round(median(values), 3) for name, values in figures.cpu_ms.items()},
        counts={name: round(value, 2) for name, value in figures.counts.items()},
        knee_per_s=round(figures.knee_per_s, 1),
    )


def _read_cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
