"""Retry budget: limits retries to a share of the requests, so that retries cannot cause an overload.

Source: Google, Site Reliability Engineering, "Handling Overload".
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retry budget of one dependency: each request earns a fraction of a retry."""

    ratio: float = 0.1
    """Retries earned per request."""
    burst: float = 10.0
    """Maximum number of saved retries."""
    saved: float = 10.0
    """Retries saved so far."""

    def earned(self) -> Self:
        """Return the budget after a request."""
        return replace(self, saved=min(self.burst, self.saved + self.ratio))

    @property
    def allows_retry(self) -> bool:
        """Return whether a whole retry is saved."""
        return self.saved >= 1.0

    def spent(self) -> Self:
        """Return the budget after a retry."""
        return replace(self, saved=self.saved - 1.0)
