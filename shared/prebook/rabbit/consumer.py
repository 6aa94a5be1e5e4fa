"""Consumer of a service's queues: passes each message to the handler and settles every one of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.coupling.ports import Publisher
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import (
    TOO_LARGE,
    ClaimStoreAway,
    ForbiddenSender,
    LoneOutage,
    Malformed,
    Undeliverable,
    Unreachable,
    error_summary,
)
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit, LoneOutages
from prebook.messaging.recoverability.dead_letter import first_failure_headers
from prebook.messaging.recoverability.decision import FailureRecovery, try_handle
from prebook.messaging.recoverability.isolation import Isolation
from prebook.messaging.recoverability.key_sequencer import KeySequencer
from prebook.rabbit.amqp_message import count_redeliveries, from_amqp, origin_of
from prebook.rabbit.connection import BrokerConnection, connect
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.rabbit.subscription import Subscription
from prebook.topology.sender_check import SenderCheck

STOP_TIMEOUT_S = 5.0
"""Seconds for cancelling the subscriptions, and again for the messages in hand."""
REQUEUE_DELAY_S = 1.0
"""Pause before a message goes back to its queue, whose head it then is again at once."""
MIN_REPUBLISH_DELAY_S = 0.2
MAX_REPUBLISH_DELAY_S = 5.0
MAX_REFUSALS = 5
"""Refusals of a retry or dead letter, over about 6 s, before it counts as undeliverable: a starting broker reports
messages as unroutable until its queues are back."""
RETRY_REFUSED_CAUSE = "retry_refused"
"""Cause of a message whose retry the broker refused."""
log = structlog.get_logger()


class RabbitConsumer:
    """Consumer of all queues of one service, on one connection with a channel for each queue.

    A message is acknowledged after its effect, its retry or its dead letter is durable. A failing message of a
    partition of ``sequencer`` blocks its key; any other failing message goes to a delay queue.
    """

    def __init__(
        self,
        url: str,
        service: str,
        queues: Mapping[str, int],
        handler: MessageHandler,
        *,
        publisher: Publisher,
        policies: Policies,
        observer: MessagingObserver,
        check_sender: SenderCheck,
        sequencer: KeySequencer | None = None,
    ) -> None:
        """``queues``: queue name -> prefetch, the maximum number of its unacknowledged messages."""
        self._check_sender = check_sender
        self._queues = queues
        self._handler = handler
        self._recovery = FailureRecovery(policies, observer)
        self._sequencer = sequencer
        self._dead_letter_publisher = DeadLetterPublisher(publisher, observer)
        self._group_by_partition = sequencer.groups if sequencer else {}
        self._isolation = Isolation()
        self._subscriptions: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.consumer_circuits: Mapping[str, ConsumerCircuit] = {queue: ConsumerCircuit() for queue in queues}
        self._stopping = False
        self.connection = BrokerConnection(
            url, f"{service} consumer", self._on_connected, connect=connect, is_healthy=self._is_consuming
        )

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Cancel the subscriptions, then wait up to ``timeout_s`` seconds until no message is unacknowledged."""
        self._stopping = True
        with contextlib.suppress(AMQPError, ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                for subscription in self._subscriptions.values():
                    await subscription.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def collect_active(self) -> list[str]:
        """Return the queues that delivered a message since the previous call."""
        active = [name for name, subscription in self._subscriptions.items() if subscription.active]
        for name in active:
            self._subscriptions[name].active = False
        return active

    async def release(self, partition: str) -> None:
        """Let another replica become the active consumer of the partition, if there is one."""
        await self._subscriptions[partition].release()

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._subscriptions = {
            name: Subscription(
                connection, name, prefetch, self._message_callback(name), ordered=name in self._group_by_partition
            )
            for name, prefetch in self._queues.items()
        }
        channels = {name: await subscription.open() for name, subscription in self._subscriptions.items()}
        return [channel for name, channel in channels.items() if name not in self._group_by_partition]

    def _is_consuming(self) -> bool:
        return self._stopping or all(subscription.is_alive for subscription in self._subscriptions.values())

    def _message_callback(self, queue: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def on_message(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs has a task
            self._tasks.add(task)
            try:
                await self._settle(queue, message)
                reach(CrashPoint.AFTER_ACK)
            except (AMQPError, MessageProcessError, ConnectionError) as error:
                # The channel is closed: the broker redelivers the message, and the inbox recognises an applied one.
                log.warning(
                    "message not settled", queue=queue, message_id=message.message_id, error=error_summary(error)
                )
            except Exception:
                # Nobody would settle it; the broker counts its deliveries, and dead-letters it after the last one.
                log.exception("message not handled, requeued", queue=queue, message_id=message.message_id)
                await asyncio.sleep(REQUEUE_DELAY_S)
                await self._requeue(queue, message)
            finally:
                self._tasks.discard(task)

        return on_message

    async def _settle(self, queue: str, message: AbstractIncomingMessage) -> None:
        wire = from_amqp(message)
        try:
            self._check_sender(self._group_by_partition.get(queue, queue), origin_of(message), wire.headers)
            envelope = decode(wire)
        except (ForbiddenSender, Malformed) as error:
            return await self._dead_letter(queue, message, wire, error.cause, error)
        if self._sequencer and queue in self._group_by_partition:
            return await self._handle_in_order(self._sequencer, queue, message, envelope)
        failure = await self._handle_through_circuit(queue, message, envelope, self._try_handle)
        if failure is not None:
            return await self._recover(queue, message, envelope, failure)
        reach(CrashPoint.BEFORE_ACK)
        return await message.ack()

    async def _try_handle(self, envelope: Envelope) -> Exception | None:
        return await try_handle(self._handler, envelope)

    async def _handle_in_order(
        self, sequencer: KeySequencer, queue: str, message: AbstractIncomingMessage, envelope: Envelope
    ) -> None:
        """Acknowledge the message once it is handled, blocked or parked.

        The turn is requested before anything else is awaited, so that turns follow the order of delivery.
        """
        group = self._group_by_partition[queue]
        traceable = replace(envelope, extra={**_first_failure_headers(message), **envelope.extra})
        async with sequencer.wait_turn(group, envelope.conversation_id):
            failure = await self._handle_through_circuit(
                queue, message, traceable, lambda each: sequencer.process_or_hold(group, each)
            )
            if isinstance(failure, LoneOutage):
                await sequencer.recover_or_hold(group, traceable, failure)
        reach(CrashPoint.BEFORE_ACK)
        await self._require_settleable(queue, message).ack()

    async def _handle_through_circuit(
        self,
        queue: str,
        message: AbstractIncomingMessage,
        envelope: Envelope,
        attempt: Callable[[Envelope], Awaitable[Exception | None]],
    ) -> Exception | None:
        """Return the handler's error, or None. During an outage of a dependency the message waits unacknowledged.

        Returns LoneOutage for one that no other message of the queue meets.
        """
        circuit = self.consumer_circuits[queue]
        lone_outages = LoneOutages(lambda: circuit.successes)
        redeliveries = count_redeliveries(message)
        while True:
            await circuit.wait_until_closed()
            await self._isolation.begin(redeliveries)
            try:
                failure = await attempt(envelope)
            except Unreachable as error:
                if not isinstance(error, ClaimStoreAway) and lone_outages.record():
                    failure = LoneOutage(f"only this message meets an outage: {error_summary(error)}")
                    circuit.record_failure(failure)
                    return failure
                circuit.record_failure(error)
                log.warning(
                    "message paused: dependency unreachable", error=error_summary(error), message_id=envelope.id
                )
                continue
            finally:
                self._isolation.end(redeliveries)
            if failure is None:
                circuit.record_success()
            else:
                circuit.record_failure(failure)
            return failure

    async def _recover(
        self, queue: str, message: AbstractIncomingMessage, envelope: Envelope, error: Exception
    ) -> None:
        async def retry(next_attempt: Envelope, delay_s: float) -> None:
            wire = _with_failure_headers(encode(next_attempt), message)
            try:
                await self._publish(queue, message, lambda: self._dead_letter_publisher.delay(queue, wire, delay_s))
            except Undeliverable as refusal:
                both = Undeliverable(f"{error_summary(error)}; its retry was refused: {refusal}")
                return await self._dead_letter(queue, message, encode(envelope), RETRY_REFUSED_CAUSE, both)
            return await self._require_settleable(queue, message).ack()

        async def dead_letter(cause: str, error: Exception) -> None:
            await self._dead_letter(queue, message, encode(envelope), cause, error)

        await self._recovery.recover(envelope, error, retry=retry, dead_letter=dead_letter)

    async def _dead_letter(
        self, queue: str, message: AbstractIncomingMessage, wire: WireMessage, cause: str, error: Exception
    ) -> None:
        address = self._group_by_partition.get(queue, queue)
        traceable = _with_failure_headers(wire, message)
        try:
            await self._publish(
                queue, message, lambda: self._dead_letter_publisher.dead_letter(address, traceable, cause, error)
            )
        except Undeliverable as refusal:
            # It has no other durable place than its queue; the broker counts this against its delivery limit.
            log.exception(
                "dead letter refused, message requeued",
                queue=queue,
                message_id=message.message_id,
                error=error_summary(refusal),
            )
            return await self._require_settleable(queue, message).reject(requeue=True)
        return await self._require_settleable(queue, message).ack()

    async def _publish(
        self, queue: str, message: AbstractIncomingMessage, publish: Callable[[], Awaitable[None]]
    ) -> None:
        """Publish a retry or dead letter; while the broker takes nothing, the message waits unacknowledged.

        Requeueing it instead would count as failed deliveries, and after the last one the cause would be lost.
        Raises Undeliverable; ConnectionError if the message can no longer be settled.
        """
        delay_s = MIN_REPUBLISH_DELAY_S
        refusals = 0
        while True:
            try:
                return await publish()
            except Unreachable as failure:
                problem = error_summary(failure)
            except Undeliverable as refusal:
                refusals += 1
                if refusal.cause == TOO_LARGE or refusals >= MAX_REFUSALS:
                    raise
                problem = error_summary(refusal)
            log.warning(
                "retry or dead letter not published",
                queue=queue,
                message_id=message.message_id,
                error=problem,
                retry_in_s=delay_s,
            )
            await asyncio.sleep(delay_s)
            self._require_settleable(queue, message)
            delay_s = min(MAX_REPUBLISH_DELAY_S, delay_s * 2)

    async def _requeue(self, queue: str, message: AbstractIncomingMessage) -> None:
        """Return the message to its queue; on a closed channel the broker does so by itself."""
        with contextlib.suppress(AMQPError, MessageProcessError, ConnectionError):
            await self._require_settleable(queue, message).reject(requeue=True)

    def _require_settleable(self, queue: str, message: AbstractIncomingMessage) -> AbstractIncomingMessage:
        """Return the message. Raises ConnectionError where the broker has given it to another consumer or will."""
        if not self._subscriptions[queue].can_settle(message):
            raise ConnectionError("the channel that delivered the message is closed")
        return message


def _first_failure_headers(message: AbstractIncomingMessage) -> dict[str, str]:
    return first_failure_headers(message.exchange or "", message.routing_key or "", utc_now())


def _with_failure_headers(wire: WireMessage, message: AbstractIncomingMessage) -> WireMessage:
    return WireMessage({**_first_failure_headers(message), **wire.headers}, wire.body)
