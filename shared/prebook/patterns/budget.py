"""Retry budget: retries may be at most a share of the requests, so that they cannot become the load.

Source: Google, Site Reliability Engineering, "Handling Overload".
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Each request earns ``ratio`` of a retry, up to ``burst`` saved ones."""

    ratio: float = 0.1
    burst: float = 10.0
    saved: float = 10.0

    def earned(self) -> Self:
        return replace(self, saved=min(self.burst, self.saved + self.ratio))

    @property
    def allows_retry(self) -> bool:
        return self.saved >= 1.0

    def spent(self) -> Self:
        return replace(self, saved=self.saved - 1.0)
