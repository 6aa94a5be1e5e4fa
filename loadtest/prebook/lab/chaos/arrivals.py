"""Arrival times of a fixed number of bookings: a Poisson process conditioned on its count."""

import random
from datetime import datetime

from prebook.lab.load.generator import PreparedRequest, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave

SCENARIO = "chaos"
MAX_PER_S = 12.0
"""Maximum default rate in rides per second: two cores keep up with it while they restart processes and a broker."""
MIN_PHASE_S = 8.0
"""Minimum time for a fault and the pause after it."""


def default_rate_per_s(bookings: int, faults: int) -> float:
    """Return the rate in rides per second: MAX_PER_S, or less so that all faults fit in while rides are offered."""
    return min(MAX_PER_S, bookings / (max(faults, 1) * MIN_PHASE_S))


def arrival_times(bookings: int, duration_s: float, seed: int) -> tuple[float, ...]:
    """Return ``bookings`` sorted arrival times in seconds within ``duration_s``.

    Given the count of a Poisson process, its arrival times are sorted uniform draws. Source: Ross, Introduction to
    Probability Models, conditional distribution of the arrival times.
    """
    rng = random.Random(f"chaos arrivals:{seed}")
    return tuple(sorted(rng.uniform(0.0, duration_s) for _ in range(bookings)))


def draw_requests(
    bookings: int, duration_s: float, seed: int, *, run: str, week: datetime, callback_url: str | None = None
) -> tuple[PreparedRequest, ...]:
    """Prepare ``bookings`` requests within ``duration_s`` seconds.

    Every ride is requested under each plan; the last ride only under as many plans as ``bookings`` leaves.
    """
    times = arrival_times(bookings, duration_s, seed)
    padded_times = times + (duration_s,) * (-bookings % len(PLANS))
    planned = interleave(padded_times, tuple(PLANS), f"chaos:{seed}")[:bookings]
    return prepare_requests(planned, run_id=run, scenario=SCENARIO, seed=seed, week=week, callback_url=callback_url)
