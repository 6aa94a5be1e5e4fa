"""Lateness of timers: how busy the machine is while a law about time is measured."""

import asyncio
import time

MAX_MEAN_S = 0.005
"""Mean lateness in seconds above which times say nothing about what was measured."""
INTERVAL_S = 0.02


class TimerLag:
    """Time in seconds by which timers of this process were late while they were watched: the mean and the longest."""

    def __init__(self) -> None:
        self.max_s = 0.0
        self._total_s = 0.0
        self._samples = 0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(INTERVAL_S)
            lag_s = time.monotonic() - began_s - INTERVAL_S
            self.max_s = max(self.max_s, lag_s)
            self._total_s += lag_s
            self._samples += 1

    @property
    def doubt(self) -> str:
        """Reason why the mean forbids to judge a law about time; empty if it does not."""
        return lag_doubt(self._total_s / self._samples if self._samples else 0.0)


def lag_doubt(mean_s: float) -> str:
    """Return the reason why times say nothing if timers are late by ``mean_s``; empty if they say something."""
    return f"the machine was too busy: timers were {1000 * mean_s:.1f} ms late" if mean_s > MAX_MEAN_S else ""
