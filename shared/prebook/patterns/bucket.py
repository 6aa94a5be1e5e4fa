"""Token bucket as a value: limits a rate, and allows bursts.

Source: the token bucket of traffic shaping (RFC 2697 uses two of them).
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """Token bucket. All times are seconds of one monotonic clock of the caller."""

    per_s: float
    """Tokens added per second."""
    burst: float
    """Capacity in tokens."""
    tokens: float
    """Tokens left at the time ``at``; negative while tokens are owed."""
    at: float

    @classmethod
    def full(cls, *, per_s: float, burst: float, now: float) -> Self:
        """Return a full bucket."""
        return cls(per_s=per_s, burst=burst, tokens=burst, at=now)

    def refilled(self, now: float) -> Self:
        """Return the bucket at the time ``now``. A clock that goes back adds no tokens."""
        tokens = self.tokens + max(0.0, now - self.at) * self.per_s
        return replace(self, tokens=min(self.burst, tokens), at=max(self.at, now))

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token; 0 means now."""
        return max(0.0, (1.0 - self.refilled(now).tokens) / self.per_s)

    def taken(self, now: float) -> Self:
        """Return the bucket with one token less. A missing token is owed; its taker must first wait for ``wait_s``."""
        refilled = self.refilled(now)
        return replace(refilled, tokens=refilled.tokens - 1.0)

    def is_full(self, now: float) -> bool:
        """Return whether the bucket is full, and so equal to a new one."""
        return self.refilled(now).tokens >= self.burst
