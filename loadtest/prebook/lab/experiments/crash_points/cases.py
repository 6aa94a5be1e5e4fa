"""Cases of the experiment: the processes that crash during one group of rides, and where. Pure."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from prebook.flows import SERVICES
from prebook.messaging.crash_points import CrashPoint


@dataclass(frozen=True, order=True)
class CrashSite:
    """A crash point in one service."""

    service: str
    point: CrashPoint

    def __str__(self) -> str:
        return f"{self.service}.{self.point}"


Case = tuple[CrashSite, ...]
"""The crashes during one group of rides: one, or two at different sites."""


def list_sites() -> tuple[CrashSite, ...]:
    """Return every crash point of the code in every service that takes part in a ride."""
    return tuple(CrashSite(service, point) for service in SERVICES for point in CrashPoint)


def single_cases(sites: Iterable[CrashSite]) -> tuple[Case, ...]:
    """Return one case per site."""
    return tuple((site,) for site in sites)


def pair_cases(sites: Sequence[CrashSite], seed: int) -> tuple[Case, ...]:
    """Return every pair of different sites in an order drawn from ``seed``, so that a shorter run is a sample."""
    pairs = list(combinations(sorted(sites), 2))
    random.Random(f"crash pairs:{seed}").shuffle(pairs)
    return tuple(pairs)
