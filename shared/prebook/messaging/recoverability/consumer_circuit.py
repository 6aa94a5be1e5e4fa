"""Circuit breaker of a consumer: pauses consumption in an outage, so that no message loses an attempt to it.

While the circuit is open, delivered messages wait unacknowledged, and the prefetch keeps all others at the broker.
After each cool-down one message goes through as a probe; the first probe that succeeds closes the circuit.
Source: Nygard, Release It!, "Circuit Breaker".
"""

import asyncio
import time
from collections.abc import Callable

from prebook.messaging.errors import PermanentFailure, ReceiverUnavailable, Unreachable
from prebook.patterns.breaker import Breaker

FAILURE_THRESHOLD = 20
"""Consecutive failures, of messages that a retry may help, that open the circuit: no single one can be their cause."""
COOL_DOWN_S = 1.0
MAX_LONE_OUTAGES = 5
"""Outages in a row that only one message meets, before they count as its own failure."""


class ConsumerCircuit:
    """Circuit of one queue. The circuit is open while consumption is paused."""

    def __init__(self, *, threshold: int = FAILURE_THRESHOLD, cool_down_s: float = COOL_DOWN_S) -> None:
        """``threshold``: consecutive failures that open it."""
        self._breaker = Breaker(threshold, cool_down_s)
        self._changed = asyncio.Event()
        self.successes = 0
        """Number of messages handled since the start."""
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
        self.successes += 1
        if self.is_open or self._breaker.failures:
            self._breaker = self._breaker.succeeded()
            self._notify()

    def record_failure(self, error: Exception) -> bool:
        """Record a failed attempt, and return whether a dependency is down, which opens the circuit at once.

        The message then stays unacknowledged, and the attempt is not counted.
        """
        if isinstance(error, PermanentFailure | ReceiverUnavailable):  # says nothing about the service
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


class LoneOutages:
    """Outages that one message meets while others of its queue are handled in between.

    A dependency that is down fails every message, and costs none of them an attempt. What fails one message alone (a
    lock, a row that takes too long) would pause its queue again and again for ever.
    """

    def __init__(self, count_successes: Callable[[], int]) -> None:
        """``count_successes`` returns the number of messages handled so far, of those that may be paused by it."""
        self._count_successes = count_successes
        self._successes: int | None = None
        self._count = 0

    def record(self) -> bool:
        """Record an outage, and return whether the message is its cause; it then starts to count from zero."""
        before = self._successes
        self._successes = self._count_successes()
        others_succeeded = before is not None and self._successes > before
        self._count = self._count + 1 if others_succeeded else 0
        if self._count < MAX_LONE_OUTAGES:
            return False
        self._count = 0
        return True
