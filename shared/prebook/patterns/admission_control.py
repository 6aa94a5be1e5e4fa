"""Admission control: who is let in while more comes than can be served.

A load is measured against its limit; a valve shuts at the limit and opens again at half of it, so that it does not
flutter. Who was told to come back at a certain time finds headroom above the limit that newcomers do not have.
Source: Google, Site Reliability Engineering, "Handling Overload"; the valve is a Schmitt trigger.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

REOPEN_SHARE = 0.5
"""Share of its limit to which a load must fall before newcomers are let in again."""
HEADROOM = 1.25
"""Share of its limit up to which those who keep their appointment are let in."""


STALLED_RETRY_AFTER_S = 10.0
"""How long to stay away from what has grown too old: nobody knows when it moves again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """Something that requests wait for, as it was last seen."""

    waiting: float
    limit: float
    """More than so many should not wait."""
    throughput_limit: float = math.inf
    """The same once it moves, where that is less."""
    age_share: float = 0.0
    """Age of the oldest that waits, as a share of what it may be."""
    completions_per_s: float = 0.0
    """How many stop waiting each second."""

    @property
    def utilization(self) -> float:
        """1.0 is the limit."""
        return max(self.waiting / self.limit, self.age_share)

    def projected(self, after_s: float, admitted: int) -> Self:
        """The estimate until it is looked at again: what was let in since, less what has been served meanwhile."""
        more = admitted - self.completions_per_s * after_s
        return replace(self, waiting=self.waiting + more) if more > 0.0 else self

    def reopens_in_s(self, completions_per_s: float) -> float:
        """Seconds until newcomers are let in again, where it is served at this rate."""
        stalled_s = STALLED_RETRY_AFTER_S if self.age_share >= 1.0 else 0.0
        return max(
            stalled_s, (self.waiting - REOPEN_SHARE * min(self.limit, self.throughput_limit)) / completions_per_s, 0.0
        )


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Lets newcomers through, or does not."""

    shedding: bool = False

    def updated(self, load: QueueLoad) -> "Hysteresis":
        return SHEDDING if load.utilization >= 1.0 or (self.shedding and load.utilization > REOPEN_SHARE) else ACCEPTING

    def allows(self, load: QueueLoad, *, has_reservation: bool) -> bool:
        """``promised``: this one comes at a time that it was given. Nobody is let in to what does not move."""
        return not self.shedding or (has_reservation and load.waiting < HEADROOM * load.limit and load.age_share < 1.0)


ACCEPTING, SHEDDING = Hysteresis(), Hysteresis(shedding=True)
