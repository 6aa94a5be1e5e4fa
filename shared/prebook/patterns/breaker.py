"""Circuit breaker as a value: closed -> open after failures -> half open for one probe -> closed or open again.

Source: Nygard, Release It!, "Circuit Breaker".
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Breaker:
    """Circuit breaker of one dependency. All times are seconds of one monotonic clock of the caller."""

    threshold: int = 5
    """Consecutive failures that open the circuit."""
    cool_down_s: float = 1.0
    """Seconds that the open circuit waits before it lets a probe pass."""
    failures: int = 0
    """Consecutive failures so far."""
    opened_at: float | None = None
    """Time of the last failure of an open circuit; None while it is closed."""
    probing_since: float | None = None
    """Start of the running probe, if there is one."""

    def wait_s(self, now: float) -> float:
        """Seconds until a call may be made; 0 means now."""
        if self.opened_at is None:
            return 0.0
        since = self.opened_at if self.probing_since is None else self.probing_since
        return max(0.0, since + self.cool_down_s - now)

    def tried(self, now: float) -> Self:
        """Return the breaker after a call has started.

        While the circuit is open, the call is its one probe until it ends or another cool-down has passed.
        """
        return self if self.opened_at is None else replace(self, probing_since=now)

    def succeeded(self) -> Self:
        """Return the closed breaker after a successful call."""
        return replace(self, failures=0, opened_at=None, probing_since=None)

    def tripped(self, now: float) -> Self:
        """Return the open breaker, whatever its state was."""
        return replace(self, failures=self.threshold, opened_at=now, probing_since=None)

    def failed(self, now: float) -> Self:
        """Return the breaker after a failed call; a failed probe opens it again."""
        failures = self.failures + 1
        opens = self.opened_at is not None or failures >= self.threshold
        return replace(self, failures=failures, opened_at=now if opens else None, probing_since=None)
