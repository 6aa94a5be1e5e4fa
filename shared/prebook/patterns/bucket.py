"""Token bucket as a value: so many at once, so many each second over time.

Source: the token bucket of traffic shaping (RFC 2697 uses two of them).
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """Times are seconds of any monotonic clock, handed in. ``tokens`` are those left at ``at``."""

    per_s: float
    burst: float
    tokens: float
    at: float

    @classmethod
    def full(cls, *, per_s: float, burst: float, now: float) -> Self:
        return cls(per_s=per_s, burst=burst, tokens=burst, at=now)

    def refilled(self, now: float) -> Self:
        """A clock that goes back adds nothing."""
        tokens = self.tokens + max(0.0, now - self.at) * self.per_s
        return replace(self, tokens=min(self.burst, tokens), at=max(self.at, now))

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token; 0 means now."""
        return max(0.0, (1.0 - self.refilled(now).tokens) / self.per_s)

    def taken(self, now: float) -> Self:
        """One token less. Where there is none it is owed: whoever takes it waits ``wait_s`` first."""
        refilled = self.refilled(now)
        return replace(refilled, tokens=refilled.tokens - 1.0)

    def is_full(self, now: float) -> bool:
        """Full again: as good as a new one."""
        return self.refilled(now).tokens >= self.burst
