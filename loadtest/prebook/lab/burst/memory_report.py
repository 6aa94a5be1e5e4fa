"""What a suite needed of memory, from what was seen of it second by second. Megabytes."""

from collections.abc import Iterable, Mapping, Sequence

from prebook.flows import PROCESSES
from prebook.lab.burst.model import MEMORY_INTERVAL_S, SNAPSHOT_INTERVAL_S, SuiteSnapshot
from prebook.lab.burst.series import covered_seconds

EXPECTED_PROCESSES = ("broker", "database", *PROCESSES)
"""Without all of these, memory is not that of a suite."""


def expected_and_seen(seen: Iterable[str]) -> tuple[str, ...]:
    """What is to be watched, and then what else was seen: replicas, and further nodes of the broker."""
    return (*EXPECTED_PROCESSES, *sorted(set(seen).difference(EXPECTED_PROCESSES)))


def processes_in(snapshots: Iterable[SuiteSnapshot]) -> tuple[str, ...]:
    return expected_and_seen(name for second in snapshots for name in second.memory_mb)


def peak_mb(snapshots: Iterable[SuiteSnapshot]) -> dict[str, float]:
    found: dict[str, float] = {}
    for second in snapshots:
        for name, used in second.memory_mb.items():
            found[name] = max(used, found.get(name, 0.0))
    return found


def total_mb(snapshots: Sequence[SuiteSnapshot]) -> Sequence[tuple[float, float]]:
    """Moment and all processes together, from the second on in which each was seen; none where one never was.

    What is not looked at in a second is as it was last seen.
    """
    names = set(processes_in(snapshots))
    latest: dict[str, float] = {}
    totals = []
    for second in snapshots:
        latest |= second.memory_mb
        if latest.keys() == names:
            totals.append((second.at_s, sum(latest.values())))
    return totals


def observed_seconds(snapshots: Sequence[SuiteSnapshot], duration_s: float) -> Mapping[str, frozenset[int]]:
    """Process -> the whole seconds of the burst that its memory was looked at in."""
    looks = {name: [s.at_s for s in snapshots if name in s.memory_mb] for name in processes_in(snapshots)}
    return {
        name: covered_seconds(at, duration_s, MEMORY_INTERVAL_S.get(name, SNAPSHOT_INTERVAL_S))
        for name, at in looks.items()
    }
