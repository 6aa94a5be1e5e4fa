"""Holds consumption when everything fails, so that an outage is not charged to the messages that it meets.

While the gate is shut, messages in hand wait, one probe at a time is let through after each cool-down, and the broker
keeps the rest, since nothing in hand is settled. It opens with the first probe that succeeds.
Source: Nygard, Release It!, "Circuit Breaker", applied to a consumer.
"""

import asyncio
import time
from collections.abc import Callable

from prebook.messaging.errors import Unreachable
from prebook.patterns.breaker import Breaker

FAILURE_THRESHOLD, COOL_DOWN_S = 20, 1.0
"""Failures in a row, of whatever message, that no single message can be blamed for."""


class ConsumerCircuit:
    """One for each queue."""

    def __init__(
        self,
        *,
        threshold: int = FAILURE_THRESHOLD,
        cool_down_s: float = COOL_DOWN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breaker, self._clock = Breaker(threshold, cool_down_s), clock
        self._changed = asyncio.Event()
        self.paused = 0
        """Messages in hand that wait for it to open."""

    @property
    def is_open(self) -> bool:
        return self._breaker.opened_at is not None

    async def wait_until_closed(self) -> None:
        """Returns when this message may be handled: at once, or as the next probe."""
        while wait_s := self._breaker.wait_s(self._clock()):
            self.paused += 1
            try:
                await self._wait_for_change(wait_s)
            finally:
                self.paused -= 1
        self._breaker = self._breaker.tried(self._clock())

    def record_success(self) -> None:
        if self.is_open or self._breaker.failures:
            self._breaker = self._breaker.succeeded()
            self._notify()

    def record_failure(self, error: Exception) -> bool:
        """True where it is not the message's fault: what we stand on is away. The message stays in hand, uncharged."""
        systemic = isinstance(error, Unreachable)
        now = self._clock()
        self._breaker = self._breaker.tripped(now) if systemic else self._breaker.failed(now)
        self._notify()
        return systemic

    async def _wait_for_change(self, timeout_s: float) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    def _notify(self) -> None:
        """Everybody who waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()
