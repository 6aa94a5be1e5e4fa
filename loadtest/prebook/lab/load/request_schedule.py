"""Schedule of requests: every ride is requested under every plan, in one interleaved stream of arrivals."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedRequest:
    """A booking request of one ride under one plan, due ``at_s`` seconds after the start."""

    at_s: float
    ride: int
    label: str


def interleave(offsets: Sequence[float], labels: Sequence[str], seed: str) -> tuple[PlannedRequest, ...]:
    """Assign arrivals to rides and plans: ``len(labels)`` arrivals are one ride, once per plan in random order.

    All plans thus get the same rides at the same rate in the same minute, and no plan always comes first. Arrivals of
    an incomplete ride at the end are dropped, so that every plan gets equally many requests.
    """
    rng = random.Random(f"offers:{seed}")
    ride_count = len(offsets) // len(labels)
    plan_order = [label for _ in range(ride_count) for label in rng.sample(labels, len(labels))]
    return tuple(
        PlannedRequest(at_s, position // len(labels), label)
        for position, (at_s, label) in enumerate(zip(offsets, plan_order, strict=False))
    )
