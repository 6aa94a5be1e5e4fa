"""Stored figures of a suite, as baseline of later runs."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from prebook.lab.bench.subjects.ride_figures import RideFigures


class PlanBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one plan."""

    cpu_ms: Mapping[str, float]
    """CPU time per ride of each process at STEADY_PER_S."""
    busy_cpu_ms: Mapping[str, float] = {}
    """The same at BUSY_PER_S; empty in files that an earlier version wrote."""
    counts: Mapping[str, float]
    """Resources per ride."""
    knee_per_s: float
    """Rides settled per second at the knee."""


class RideBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of all plans, with the conditions of the measurement."""

    measured_on: str
    machine: str
    versions: str
    plans: Mapping[str, PlanBaseline]


def baseline_of(plans: Mapping[str, RideFigures], versions: str) -> RideBaseline:
    """Return the figures of ``plans`` with today's date and this machine. ``versions``: of broker and database."""
    return RideBaseline(
        measured_on=datetime.now(UTC).date().isoformat(),
        machine=f"{os.cpu_count()} x {_read_cpu_model()}",
        versions=versions,
        plans={plan: _plan_baseline(figures) for plan, figures in plans.items()},
    )


def read_baseline(path: Path) -> RideBaseline:
    """Read a baseline file.

    Raises:
        OSError: The file cannot be read.
        msgspec.DecodeError: The file is no baseline.
    """
    return msgspec.json.decode(path.read_bytes(), type=RideBaseline)


def write_baseline(path: Path, baseline: RideBaseline) -> None:
    """Write a baseline file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")


def figures_of(baseline: PlanBaseline, rounds: int) -> RideFigures:
    """Return stored figures as if each of ``rounds`` rounds had measured them."""
    cpu_ms = {name: [value] * rounds for name, value in baseline.cpu_ms.items()}
    return RideFigures(cpu_ms=cpu_ms, counts=baseline.counts, knee_per_s=baseline.knee_per_s)


def _plan_baseline(figures: RideFigures) -> PlanBaseline:
    return PlanBaseline(
        cpu_ms={name: round(median(values), 3) for name, values in figures.cpu_ms.items()},
        busy_cpu_ms={name: round(median(values), 3) for name, values in figures.busy_cpu_ms.items()},
        counts={name: round(value, 2) for name, value in figures.counts.items()},
        knee_per_s=round(figures.knee_per_s, 1),
    )


def _read_cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
