"""Holds consumption when everything fails, so that an outage is not charged to the messages that it meets.

While the gate is shut, messages in hand wait, one probe at a time is let through after each cool-down, and the broker
keeps the rest, since nothing in hand is settled. It opens with the first probe that succeeds.
Source: Nygard, Release It!, "Circuit Breaker", applied to a consumer.
"""

import asyncio
import time
from collections.abc import Callable

from prebook.messaging.channel import Unreachable
from prebook.patterns.breaker import Breaker

THRESHOLD, COOL_DOWN_S = 20, 1.0
"""Failures in a row, of whatever message, that no single message can be blamed for."""


class Gate:
    """One for each queue."""

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        cool_down_s: float = COOL_DOWN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breaker, self._clock = Breaker(threshold, cool_down_s), clock
        self._changed = asyncio.Event()
        self.held = 0
        """Messages in hand that wait for it to open."""

    @property
    def shut(self) -> bool:
        return self._breaker.opened_at is not None

    async def passed(self) -> None:
        """Returns when this message may be handled: at once, or as the next probe."""
        while wait_s := self._breaker.wait_s(self._clock()):
            self.held += 1
            try:
                await self._change(wait_s)
            finally:
                self.held -= 1
        self._breaker = self._breaker.tried(self._clock())

    def succeeded(self) -> None:
        if self.shut or self._breaker.failures:
            self._breaker = self._breaker.succeeded()
            self._tell()

    def failed(self, error: Exception) -> bool:
        """True where it is not the message's fault: what we stand on is away. The message stays in hand, uncharged."""
        systemic = isinstance(error, Unreachable)
        now = self._clock()
        self._breaker = self._breaker.tripped(now) if systemic else self._breaker.failed(now)
        self._tell()
        return systemic

    async def _change(self, within_s: float) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(within_s):
                await changed.wait()
        except TimeoutError:
            return

    def _tell(self) -> None:
        """Everybody who waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()
