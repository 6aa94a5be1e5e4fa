"""Admission control: which requests are admitted while more arrive than can be served.

A load is measured against its limit. Shedding starts at the limit and ends at half of it, so that it does not flap.
Requests with a reservation (see ``waiting_room``) are admitted up to a headroom above the limit.
Source: Google, Site Reliability Engineering, "Handling Overload"; the hysteresis is a Schmitt trigger.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

REOPEN_SHARE = 0.5
"""Share of its limit to which a load must fall before requests without a reservation are admitted again."""
HEADROOM = 1.25
"""Share of its limit up to which requests with a reservation are admitted."""
STALLED_RETRY_AFTER_S = 10.0
"""Seconds to stay away from a queue whose oldest entry is too old: when it will move again is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """Measured load of a queue or another bottleneck."""

    waiting: float
    """Number of waiting entries."""
    limit: float
    """Maximum number of entries that may wait."""
    throughput_limit: float = math.inf
    """Number of entries that may wait at the observed rate of completions, if that is less than ``limit``."""
    age_share: float = 0.0
    """Age of the oldest waiting entry, as a share of its limit."""
    completions_per_s: float = 0.0
    """Entries completed per second."""

    @property
    def utilization(self) -> float:
        """Load as a share of the limit; 1.0 and more means overload."""
        return max(self.waiting / self.limit, self.age_share)

    def projected(self, after_s: float, admitted: int) -> Self:
        """Return the estimated load ``after_s`` seconds after this measurement, with ``admitted`` entries more.

        The estimate never falls below the measurement.
        """
        growth = admitted - self.completions_per_s * after_s
        return replace(self, waiting=self.waiting + growth) if growth > 0.0 else self

    def reopens_in_s(self, completions_per_s: float) -> float:
        """Seconds until requests without a reservation are admitted again, at this rate of completions."""
        stalled_s = STALLED_RETRY_AFTER_S if self.age_share >= 1.0 else 0.0
        return max(
            stalled_s, (self.waiting - REOPEN_SHARE * min(self.limit, self.throughput_limit)) / completions_per_s, 0.0
        )


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Admission state of one bottleneck: accepting or shedding."""

    shedding: bool = False

    def updated(self, load: QueueLoad) -> "Hysteresis":
        """Return the state after a measurement."""
        return SHEDDING if load.utilization >= 1.0 or (self.shedding and load.utilization > REOPEN_SHARE) else ACCEPTING

    def allows(self, load: QueueLoad, *, has_reservation: bool) -> bool:
        """Return whether a request is admitted. ``has_reservation``: it returns at the time it was given.

        A stalled queue (``age_share`` of 1 or more) admits no reservations while shedding.
        """
        return not self.shedding or (has_reservation and load.waiting < HEADROOM * load.limit and load.age_share < 1.0)


ACCEPTING = Hysteresis()
SHEDDING = Hysteresis(shedding=True)
