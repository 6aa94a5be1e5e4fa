"""Circuit breaker of a consumer: pauses consumption in an outage, so that no message loses an attempt to it.

While the circuit is open, delivered messages wait unacknowledged, and the prefetch keeps all others at the broker.
After each cool-down one message goes through as a probe; the first probe that succeeds closes the circuit.
Source: Nygard, Release It!, "Circuit Breaker".
"""

import asyncio
import time

from prebook.messaging.errors import ReceiverUnavailable, RequestExpired, Unreachable
from prebook.patterns.breaker import Breaker

FAILURE_THRESHOLD = 20
"""Consecutive failures, of any messages, that open the circuit: no single message can be their cause."""
COOL_DOWN_S = 1.0


class ConsumerCircuit:
    """Circuit of one queue. The circuit is open while consumption is paused."""

    def __init__(self, *, threshold: int = FAILURE_THRESHOLD, cool_down_s: float = COOL_DOWN_S) -> None:
        """``threshold``: consecutive failures that open it."""
        self._breaker = Breaker(threshold, cool_down_s)
        self._changed = asyncio.Event()
        self.paused = 0
        """Number of unacknowledged messages that wait until the circuit closes."""

    @property
    def is_open(self) -> bool:
        """Whether consumption is paused."""
        return self._breaker.opened_at is not None

    async def wait_until_closed(self) -> None:
        """Wait until this message may be handled: at once, or as the next probe."""
        while wait_s := self._breaker.wait_s(time.monotonic()):
            self.paused += 1
            try:
                await self._wait_for_change(wait_s)
            finally:
                self.paused -= 1
        self._breaker = self._breaker.tried(time.monotonic())

    def record_success(self) -> None:
        """Close the circuit, and count failures from zero."""
        if self.is_open or self._breaker.failures:
            self._breaker = self._breaker.succeeded()
            self._notify()

    def record_failure(self, error: Exception) -> bool:
        """Record a failed attempt, and return whether a dependency is down, which opens the circuit at once.

        The message then stays unacknowledged, and the attempt is not counted.
        """
        if isinstance(error, RequestExpired | ReceiverUnavailable):  # says nothing about the service
            return False
        dependency_down = isinstance(error, Unreachable)
        now = time.monotonic()
        self._breaker = self._breaker.tripped(now) if dependency_down else self._breaker.failed(now)
        self._notify()
        return dependency_down

    async def _wait_for_change(self, timeout_s: float) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    def _notify(self) -> None:
        """Wake all waiting messages, which read the state again."""
        self._changed.set()
        self._changed = asyncio.Event()
