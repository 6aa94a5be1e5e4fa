"""In-memory consumer of one queue, which recovers from failures as ``rabbit.consumer`` does, without its delays."""

import asyncio
from collections.abc import Awaitable, Callable

from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable, Unreachable
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.decision import FailureRecovery, try_handle
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.testing.broker import MemoryBroker

RETRY_INTERVAL_S = 0.005
"""Seconds before a message is tried again whose handling or settlement needs a dependency that is down."""


class MemoryConsumer:
    """Consumer that handles one message at a time.

    A message that is to be retried goes to the end of its queue at once, also in a message group: the order that
    ``KeySequencer`` keeps across retries is not kept here.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        queue: str,
        address: str,
        handler: MessageHandler,
        *,
        policies: Policies,
        observer: MessagingObserver,
    ) -> None:
        """``address``: name of the queue, or of the message group that the queue is a partition of."""
        self._broker = broker
        self._queue = queue
        self._address = address
        self._handler = handler
        self._recovery = FailureRecovery(policies, observer)
        self._dead_letter_publisher = DeadLetterPublisher(broker, observer)

    async def run(self, wait_until_up: Callable[[], Awaitable[None]]) -> None:
        """Consume until cancelled; ``wait_until_up`` returns once the consuming service is up."""
        waiting = self._broker.queues[self._queue]
        while True:
            await wait_until_up()
            if not waiting:
                await self._broker.wait_for_message(self._queue)
                continue
            message = waiting.popleft()
            try:
                await self._settle(message)
            except (Unreachable, Undeliverable):
                waiting.appendleft(message)
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def _settle(self, message: WireMessage) -> None:
        """Handle the message, or publish its retry or dead letter.

        Raises Unreachable if a dependency is down, or Undeliverable if the topology has no such delay.
        """
        try:
            envelope = decode(message)
        except Malformed as error:
            return await self._dead_letter_publisher.dead_letter(self._address, message, error.cause, error)
        failure = await try_handle(self._handler, envelope)
        if failure is None:
            return None

        async def retry(next_attempt: Envelope, delay_s: float) -> None:
            await self._dead_letter_publisher.delay(self._address, encode(next_attempt), delay_s)

        async def dead_letter(cause: str, error: Exception) -> None:
            await self._dead_letter_publisher.dead_letter(self._address, message, cause, error)

        return await self._recovery.recover(envelope, failure, retry=retry, dead_letter=dead_letter)
