"""Who is offered what, when: every ride goes to every plan, in one interleaved stream of arrivals."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedRequest:
    """One booking request to be made ``at_s`` seconds after the start."""

    at_s: float
    ride: int
    label: str


def interleave(offsets: Sequence[float], labels: Sequence[str], seed: str) -> tuple[PlannedRequest, ...]:
    """Each run of ``len(labels)`` arrivals is one ride, offered to each plan once, in a drawn order.

    So the plans meet the same rides, at the same rate, in the same minute, and none always comes first. Arrivals at
    the end that would not make a whole run are left out: every plan is offered equally many.
    """
    rng = random.Random(f"offers:{seed}")
    whole = len(offsets) // len(labels)
    order = [label for _ in range(whole) for label in rng.sample(labels, len(labels))]
    return tuple(
        PlannedRequest(at_s, position // len(labels), label)
        for position, (at_s, label) in enumerate(zip(offsets, order, strict=False))
    )
