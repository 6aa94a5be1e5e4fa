"""What a suite needed of memory, from what was seen of it second by second. Megabytes."""

from collections.abc import Iterable, Mapping, Sequence

from prebook.flows import PROCESSES
from prebook.lab.burst.model import EVERY_S, SELDOM_S, Second
from prebook.lab.burst.series import seen_in

WATCHED = ("broker", "database", *PROCESSES)
"""Without all of these, memory is not that of a suite."""


def watched(seen: Iterable[str]) -> tuple[str, ...]:
    """What is to be watched, and then what else was seen: replicas, and further nodes of the broker."""
    return (*WATCHED, *sorted(set(seen).difference(WATCHED)))


def named(seconds: Iterable[Second]) -> tuple[str, ...]:
    return watched(name for second in seconds for name in second.memory_mb)


def most(seconds: Iterable[Second]) -> dict[str, float]:
    found: dict[str, float] = {}
    for second in seconds:
        for name, used in second.memory_mb.items():
            found[name] = max(used, found.get(name, 0.0))
    return found


def whole_suite(seconds: Sequence[Second]) -> Sequence[tuple[float, float]]:
    """Moment and all processes together, from the second on in which each was seen; none where one never was.

    What is not looked at in a second is as it was last seen.
    """
    names = set(named(seconds))
    latest: dict[str, float] = {}
    totals = []
    for second in seconds:
        latest |= second.memory_mb
        if latest.keys() == names:
            totals.append((second.at_s, sum(latest.values())))
    return totals


def looked_at(seconds: Sequence[Second], duration_s: float) -> Mapping[str, frozenset[int]]:
    """Process -> the whole seconds of the burst that its memory was looked at in."""
    looks = {name: [s.at_s for s in seconds if name in s.memory_mb] for name in named(seconds)}
    return {name: seen_in(at, duration_s, SELDOM_S.get(name, EVERY_S)) for name, at in looks.items()}
