"""Memory of a suite during a burst, from its snapshots, in megabytes. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from prebook.flows import PROCESSES
from prebook.lab.burst.model import MEMORY_INTERVAL_S, SNAPSHOT_INTERVAL_S, SuiteSnapshot
from prebook.lab.burst.series import covered_seconds

EXPECTED_PROCESSES = ("broker", "database", *PROCESSES)
"""Processes of a suite. Its total memory is unknown while one of them has no reading."""


def expected_and_seen(seen: Iterable[str]) -> tuple[str, ...]:
    """Return EXPECTED_PROCESSES and then the other names in ``seen``: replicas and further nodes of the broker."""
    return (*EXPECTED_PROCESSES, *sorted(set(seen).difference(EXPECTED_PROCESSES)))


def processes_in(snapshots: Iterable[SuiteSnapshot]) -> tuple[str, ...]:
    """Return EXPECTED_PROCESSES and the other processes with a reading."""
    return expected_and_seen(name for snapshot in snapshots for name in snapshot.memory_mb)


def peak_mb(snapshots: Iterable[SuiteSnapshot]) -> dict[str, float]:
    """Return the maximum memory of each process with a reading."""
    peaks: dict[str, float] = {}
    for snapshot in snapshots:
        for name, megabytes in snapshot.memory_mb.items():
            peaks[name] = max(megabytes, peaks.get(name, 0.0))
    return peaks


def total_mb(snapshots: Sequence[SuiteSnapshot]) -> Sequence[tuple[float, float]]:
    """Return pairs of time in seconds and memory of all processes, from the first time at which all have a reading.

    A process without a reading in a snapshot counts with its previous one. Empty if a process never has a reading.
    """
    names = set(processes_in(snapshots))
    latest: dict[str, float] = {}
    totals = []
    for snapshot in snapshots:
        latest |= snapshot.memory_mb
        if latest.keys() == names:
            totals.append((snapshot.at_s, sum(latest.values())))
    return totals


def observed_seconds(snapshots: Sequence[SuiteSnapshot], duration_s: float) -> Mapping[str, frozenset[int]]:
    """Return the whole seconds of the burst that the memory readings of each process cover."""
    read_at = {
        name: [snapshot.at_s for snapshot in snapshots if name in snapshot.memory_mb]
        for name in processes_in(snapshots)
    }
    return {
        name: covered_seconds(times, duration_s, MEMORY_INTERVAL_S.get(name, SNAPSHOT_INTERVAL_S))
        for name, times in read_at.items()
    }
