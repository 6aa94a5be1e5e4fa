"""Circuit breaker as a value: closed -> open after failures -> half open for one probe -> closed or open again.

Source: Nygard, Release It!, "Circuit Breaker".
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are seconds of any monotonic clock, handed in."""

    threshold: int = 5
    """Failures in a row that open it."""
    cool_down_s: float = 1.0
    failures: int = 0
    opened_at: float | None = None
    probing_since: float | None = None

    def wait_s(self, now: float) -> float:
        """Seconds until a call may be tried; 0 means now."""
        if self.opened_at is None:
            return 0.0
        since = self.opened_at if self.probing_since is None else self.probing_since
        return max(0.0, since + self.cool_down_s - now)

    def tried(self, now: float) -> Self:
        """A call leaves. While open, it is the one probe until it ends or the cool-down has passed again."""
        return self if self.opened_at is None else replace(self, probing_since=now)

    def succeeded(self) -> Self:
        return replace(self, failures=0, opened_at=None, probing_since=None)

    def tripped(self, now: float) -> Self:
        """Open at once, whatever was before."""
        return replace(self, failures=self.threshold, opened_at=now, probing_since=None)

    def failed(self, now: float) -> Self:
        failures = self.failures + 1
        opens = self.opened_at is not None or failures >= self.threshold
        return replace(self, failures=failures, opened_at=now if opens else None, probing_since=None)
