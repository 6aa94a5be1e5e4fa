"""Exactly so many bookings, at random times: a Poisson process of which the count is known."""

import random
from datetime import datetime

from prebook.lab.load.generator import PreparedRequest, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave

SCENARIO = "chaos"
MAX_PER_S = 12.0
"""Rides a second: two cores that also restart processes and a broker can follow that."""
MIN_PHASE_S = 8.0
"""A fault and the pause after it want at least so long."""


def default_rate_per_s(bookings: int, faults: int) -> float:
    """As quick as the suite can follow, and slow enough for all the faults to come while rides are offered."""
    return min(MAX_PER_S, bookings / (max(faults, 1) * MIN_PHASE_S))


def arrival_times(bookings: int, duration_s: float, seed: int) -> tuple[float, ...]:
    """Where a Poisson process is known to have so many arrivals, they are uniform draws in order."""
    rng = random.Random(f"chaos arrivals:{seed}")
    return tuple(sorted(rng.uniform(0.0, duration_s) for _ in range(bookings)))


def draw_requests(
    bookings: int, duration_s: float, seed: int, *, run: str, week: datetime
) -> tuple[PreparedRequest, ...]:
    """``bookings`` requests; each ride goes to every plan, the last one to as many as are left."""
    at = arrival_times(bookings, duration_s, seed)
    whole = at + (duration_s,) * (-bookings % len(PLANS))
    offers = interleave(whole, tuple(PLANS), f"chaos:{seed}")[:bookings]
    return prepare_requests(offers, run_id=run, scenario=SCENARIO, seed=seed, week=week)
