"""What a suite needed of memory, from what was seen of it second by second. Megabytes."""

from collections.abc import Iterable, Sequence

from loadtest.burst.seconds import Second


def most(seconds: Iterable[Second]) -> dict[str, float]:
    found: dict[str, float] = {}
    for second in seconds:
        for name, used in second.memory_mb.items():
            found[name] = max(used, found.get(name, 0.0))
    return found


def whole_suite(seconds: Sequence[Second]) -> Sequence[float]:
    """All processes together, from the second on in which each was seen; none where broker or database never was.

    What is not looked at in a second is as it was last seen.
    """
    named = {name for second in seconds for name in second.memory_mb} | {"broker", "database"}
    latest: dict[str, float] = {}
    totals = []
    for second in seconds:
        latest |= second.memory_mb
        if latest.keys() == named:
            totals.append(sum(latest.values()))
    return totals
