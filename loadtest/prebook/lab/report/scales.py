"""Scales that map values to pixel positions on a chart."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

NICE_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)


@dataclass(frozen=True)
class LogScale:
    """Logarithmic scale from ``low`` to ``high``, both powers of ten, between the pixels ``left`` and ``right``."""

    low: float
    high: float
    left: float
    right: float

    def position(self, value: float) -> float:
        """Return the pixel of a value; values outside the scale are clipped."""
        share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        return self.left + min(share, 1.0) * (self.right - self.left)

    @property
    def decades(self) -> tuple[float, ...]:
        """Powers of ten on the scale."""
        return tuple(10.0**power for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1))


def log_scale(values: Iterable[float], left: float, right: float) -> LogScale:
    """Return the scale of whole decades around all values above zero, at least one decade."""
    positive = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(positive)))
    return LogScale(10.0**low, 10.0 ** max(math.ceil(math.log10(max(positive))), low + 1), left, right)


@dataclass(frozen=True)
class TimeScale:
    """Linear scale of ``span_s`` seconds between the pixels ``left`` and ``right``."""

    span_s: float
    left: float
    right: float

    def position(self, seconds: float) -> float:
        """Return the pixel of a time; times outside the scale are clipped."""
        return self.left + min(max(seconds / self.span_s, 0.0), 1.0) * (self.right - self.left)

    @property
    def ticks(self) -> range:
        """Labelled seconds: at most about twelve, at round steps."""
        step = next((step for step in NICE_STEPS if self.span_s / step <= 12), NICE_STEPS[-1])  # noqa: PLR2004
        return range(0, int(self.span_s) + 1, step)
