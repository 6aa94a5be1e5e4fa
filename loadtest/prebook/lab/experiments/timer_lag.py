"""Lateness of timers: how busy the machine is while a law about time is measured."""

import asyncio
import time

INTERVAL_S = 0.02


class TimerLag:
    """Longest time by which a timer of this process was late while it was watched."""

    def __init__(self) -> None:
        self.max_s = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(INTERVAL_S)
            self.max_s = max(self.max_s, time.monotonic() - began_s - INTERVAL_S)
