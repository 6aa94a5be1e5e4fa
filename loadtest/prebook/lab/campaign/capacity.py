"""Capacity of the suite, found by rising rates until the suite falls behind. An overload is a multiple of it."""

from collections.abc import Iterator

from prebook.lab.burst.capacity import MIN_SETTLED_SHARE, WARMUP_SHARE, count_answered
from prebook.lab.campaign.raw_results import RawScenario
from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals
from prebook.lab.report.model import LoadLevel

LEVEL_S = 4.0
"""Duration of a level in seconds. Short: a campaign needs to know the capacity well enough to exceed it for certain."""
MAX_LEVELS = 6
RATE_FACTOR = 1.5
"""Ratio of the rates of consecutive levels."""


def capacity_levels(first_rate_per_s: float) -> Iterator[tuple[Scenario, Arrivals]]:
    """Yield the levels of the search, each with its arrivals; the first is offered at the campaign's own rate."""
    for number in range(MAX_LEVELS):
        rate = round(first_rate_per_s * RATE_FACTOR**number, 1)
        expectation = f"Search for the capacity: {rate:g} rides a second."
        yield (
            Scenario(f"capacity_{number + 1}", ArrivalProcess.CONSTANT, expectation),
            Arrivals(ArrivalProcess.CONSTANT, rate, LEVEL_S),
        )


def load_level(raw: RawScenario, reconciliation: Reconciliation) -> LoadLevel:
    """Return the level's offered rate, and the rate at which rides were settled after the warm-up."""
    duration_s = raw.arrivals.duration_s
    from_s = WARMUP_SHARE * duration_s
    settled = count_answered(reconciliation.accounts, raw.started_at, from_s, duration_s)
    return LoadLevel(
        offered_per_s=raw.arrivals.rate_per_s,
        settled_per_s=round(settled / (duration_s - from_s), 2),
        duration_s=duration_s,
    )


def has_fallen_behind(level: LoadLevel) -> bool:
    """Return whether the suite settled so few of the offered rides that the level is beyond its capacity."""
    return level.settled_per_s < MIN_SETTLED_SHARE * level.offered_per_s
