"""Samples of a running pipe, which its process writes to a file, and what follows from them. Pure but for the file."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from prebook.lab.experiments.timer_lag import lag_doubt
from prebook.patterns.pipe import Pipe, PipeStage

STEADY_SHARE = (0.1, 0.9)
"""Part of a run that is measured, by the share of settled items: without its start and its end."""


class PipeSample(msgspec.Struct, frozen=True, kw_only=True):
    """State of a pipe at one moment."""

    at_s: float
    """Monotonic clock of the machine."""
    ended: int
    """Items that have passed the last stage or were refused by it."""
    waiting: dict[str, int]
    """Items that wait before each stage."""
    batches: dict[str, int]
    """Batches so far, by stage."""
    busy_s: dict[str, float]
    """Seconds of all batches so far, by stage."""
    lag_s: float
    """Seconds by which the timer of this sample was late."""


class PipePace(msgspec.Struct, frozen=True, kw_only=True):
    """Pace of a pipe in its steady part."""

    per_s: float
    """Items that left the pipe per second."""
    slowest: str
    """Name of the slowest stage by its measured times."""
    capacity_per_s: float
    """Capacity of the slowest stage by its measured times."""
    waiting_before: float
    """Mean number of items that wait before the slowest stage, or before a stage in front of it."""
    waiting_behind: float
    """Mean number of items that wait behind the slowest stage."""
    doubt: str
    """Reason why the pace says nothing, if the machine was too busy; empty otherwise."""


def read_samples(path: Path) -> list[PipeSample]:
    """Return the samples of a file; the last line may be cut off by a kill."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [msgspec.json.decode(line, type=PipeSample) for line in lines if line.endswith(b"\n")]


def pace_of(pipe: Pipe, samples: Sequence[PipeSample], items: int) -> PipePace:
    """Return the pace of a run in which ``items`` passed the pipe. Raises ValueError without two steady samples."""
    low, high = (share * items for share in STEADY_SHARE)
    steady = [sample for sample in samples if low <= sample.ended <= high]
    if len(steady) < 2 or steady[0].ended == steady[-1].ended:  # noqa: PLR2004 - a rate needs two points
        raise ValueError(f"{len(steady)} samples of a steady pipe")
    first, last = steady[0], steady[-1]
    times_s = batch_times_s(first, last)
    slowest = pipe.slowest(times_s)
    behind = {stage.name for stage in pipe.behind(slowest)}
    lag_s = sum(sample.lag_s for sample in steady) / len(steady)
    return PipePace(
        per_s=(last.ended - first.ended) / (last.at_s - first.at_s),
        slowest=slowest.name,
        capacity_per_s=slowest.capacity_per_s(times_s[slowest.name]),
        waiting_before=_mean_waiting(steady, [stage for stage in pipe.stages if stage.name not in behind]),
        waiting_behind=_mean_waiting(steady, pipe.behind(slowest)),
        doubt=lag_doubt(lag_s),
    )


def batch_times_s(first: PipeSample, last: PipeSample) -> dict[str, float]:
    """Return the mean seconds of a batch between two samples, by stage; 0 for a stage without one."""
    batches = {name: count - first.batches[name] for name, count in last.batches.items()}
    return {name: (last.busy_s[name] - first.busy_s[name]) / count if count else 0.0 for name, count in batches.items()}


def _mean_waiting(samples: Sequence[PipeSample], stages: Sequence[PipeStage]) -> float:
    return sum(sample.waiting[stage.name] for sample in samples for stage in stages) / len(samples)
