"""Figures of a suite as they are kept, to be compared with later."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from prebook.lab.bench.subjects.ride_figures import Figures


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Of one plan. ``spent_ms`` by process, ``counts`` by what was counted, both for one ride."""

    spent_ms: Mapping[str, float]
    counts: Mapping[str, float]
    knee_per_s: float


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """``plans``: by their names."""

    measured: str
    machine: str
    versions: str
    plans: Mapping[str, Kept]


def kept(plans: Mapping[str, Figures], versions: str) -> Baseline:
    return Baseline(
        measured=datetime.now(UTC).date().isoformat(),
        machine=f"{os.cpu_count()} x {_processor()}",
        versions=versions,
        plans={plan: _medians(figures) for plan, figures in plans.items()},
    )


def read(path: Path) -> Baseline:
    """Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def write(path: Path, baseline: Baseline) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")


def figures(one: Kept, rounds: int) -> Figures:
    """As if every round had given the same."""
    spent = {name: [value] * rounds for name, value in one.spent_ms.items()}
    return Figures(spent_ms=spent, counts=one.counts, knee_per_s=one.knee_per_s)


def _medians(figures: Figures) -> Kept:
    return Kept(
        spent_ms={name: round(median(values), 3) for name, values in figures.spent_ms.items()},
        counts={name: round(value, 2) for name, value in figures.counts.items()},
        knee_per_s=round(figures.knee_per_s, 1),
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
