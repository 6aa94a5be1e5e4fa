"""Check of the delay queues by test messages: does the broker still return what it delays?

AMQP does not show that a broker's dead-lettering has stopped: a passive declare counts only messages that are ready,
and a delayed message is not. Source: EIP, Test Message.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from uuid import uuid4

import structlog
from prometheus_client import Gauge

from prebook.coupling.ports import Publisher
from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.messaging.headers import MESSAGE_ID_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter

SEND_INTERVAL_S = 30.0
"""Seconds between the return of a test message and the next one through the same delay queue."""
RESEND_INTERVAL_S = 120.0
"""Seconds after which another test message replaces a missing one, which may have been deleted."""
GRACE_S = 30.0
"""Seconds by which a test message may be late: a busy broker is not a fault."""
POLL_INTERVAL_S = 5.0
REMEDY = (
    "retries and dead letters of expired or rejected messages stay in the broker; read its log for "
    "rabbit_fifo_dlx_worker, and the guide's section on a broker that returns no delayed messages"
)
log = structlog.get_logger()
_OVERDUE_S = Gauge(
    "prebook_delay_queue_overdue_seconds",
    f"Seconds by which a test message is late in leaving the delay queue; 0 if it is late by at most {GRACE_S:g}.",
    ("queue",),
)


class DelayedTestMessages:
    """Times of the test messages, by delay queue. Every method takes the time in seconds of one monotonic clock.

    One test message at a time is under way in each queue. It is due when the queue's delay has passed; time during
    which the broker is unreachable does not count.
    """

    def __init__(self, delays_s: Iterable[float]) -> None:
        """``delays_s``: delays of the retry ladder in seconds; each has a delay queue."""
        self._delay_s: dict[str, float] = {addresses.delay_queue(delay_s): delay_s for delay_s in delays_s}
        self._send_at = dict.fromkeys(self._delay_s, 0.0)
        self._due_at: dict[str, float] = {}

    def queues_to_test(self, now: float) -> list[str]:
        """Return the delay queues that need a test message now."""
        return [queue for queue, at in self._send_at.items() if at <= now]

    def sent(self, queue: str, now: float) -> None:
        """Record that a test message was sent; if the previous one is missing, its due time stays."""
        self._due_at.setdefault(queue, now + self._delay_s[queue])
        self._send_at[queue] = now + self._delay_s[queue] + RESEND_INTERVAL_S

    def returned(self, queue: str, now: float) -> None:
        """Record that a test message has left ``queue``; unknown queues are ignored."""
        if queue in self._delay_s:
            self._due_at.pop(queue, None)
            self._send_at[queue] = now + SEND_INTERVAL_S

    def postpone(self, now: float) -> None:
        """Move the due times: the broker is unreachable, and can return nothing before it is back."""
        for queue in self._due_at:
            self._due_at[queue] = now + self._delay_s[queue]

    def overdue_s(self, now: float) -> dict[str, float]:
        """Return for each delay queue by how many seconds its test message is late; 0 up to GRACE_S seconds."""
        late_s = {queue: now - self._due_at.get(queue, now) for queue in self._delay_s}
        return {queue: seconds if seconds > GRACE_S else 0.0 for queue, seconds in late_s.items()}


class DelayQueueCheck:
    """Sends test messages and reports delay queues that return none, by metric and log."""

    def __init__(self, publisher: Publisher, delays_s: Iterable[float], is_connected: Callable[[], bool]) -> None:
        """``is_connected``: whether the consumer of the returned messages is connected to the broker."""
        self._publisher = publisher
        self._is_connected = is_connected
        self._messages = DelayedTestMessages(delays_s)
        self._stuck: set[str] = set()

    async def run(self) -> None:
        """Check the delay queues until cancelled."""
        while True:
            if self._is_connected():
                for queue in self._messages.queues_to_test(time.monotonic()):
                    await self._send(queue)
            else:
                self._messages.postpone(time.monotonic())
            self._report()
            await asyncio.sleep(POLL_INTERVAL_S)

    def is_returned(self, message: DeadLetter) -> bool:
        """Return whether a message of the parking queue is a test message of operations, and record its return."""
        is_own = message.queue == addresses.TEST_MESSAGE and message.user == addresses.broker_user(OPERATIONS)
        if is_own and message.x_deaths:
            self._messages.returned(message.x_deaths[0].queue, time.monotonic())
        return is_own

    async def _send(self, queue: str) -> None:
        message = WireMessage({MESSAGE_ID_HEADER: f"test-message-{uuid4().hex}"}, b"")
        try:
            await self._publisher.publish(queue, addresses.TEST_MESSAGE, message)
            self._messages.sent(queue, time.monotonic())
        except (Unreachable, Undeliverable) as error:
            log.info("test message not sent", queue=queue, error=error_summary(error))

    def _report(self) -> None:
        overdue_s = self._messages.overdue_s(time.monotonic())
        for queue, seconds in overdue_s.items():
            _OVERDUE_S.labels(queue).set(seconds)
        stuck = {queue for queue, seconds in overdue_s.items() if seconds}
        for queue in sorted(stuck - self._stuck):
            log.error("the broker returns no delayed messages", queue=queue, remedy=REMEDY)
        for queue in sorted(self._stuck - stuck):
            log.warning("the broker returns delayed messages again", queue=queue)
        self._stuck = stuck
