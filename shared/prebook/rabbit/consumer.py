"""Consumes the service's queues, passes each message to the handler, and settles every one of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.coupling.ports import Publisher
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable, Unreachable, error_summary
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit
from prebook.messaging.recoverability.decision import decide
from prebook.messaging.recoverability.key_sequencer import KeySequencer
from prebook.patterns.retry import Retry
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import BrokerConnection, connect
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher, first_failure_headers
from prebook.rabbit.subscription import Subscription

log = structlog.get_logger()


class RabbitConsumer:
    """``queues`` maps each queue to its prefetch: how many of its messages are worked on at a time.

    Messages of a partition that ``sequencer`` knows are handled in order.
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
        sequencer: KeySequencer | None = None,
    ) -> None:
        self._queues, self._handler, self._policies, self._observer = queues, handler, policies, observer
        self._sequencer, self._dead_letter_publisher = sequencer, DeadLetterPublisher(publisher, observer)
        self._group_by_partition = sequencer.groups if sequencer else {}
        self._subscriptions: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.consumer_circuits: Mapping[str, ConsumerCircuit] = {queue: ConsumerCircuit() for queue in queues}
        self._stopping = False
        self.connection = BrokerConnection(
            url, f"{service} consumer", self._on_connected, connect=connect, is_healthy=self._is_consuming
        )

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Take nothing more, and let what is under way end."""
        self._stopping = True
        with contextlib.suppress(AMQPError, ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                for held in self._subscriptions.values():
                    await held.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def collect_active(self) -> list[str]:
        """Queues from which something has come since this was last asked."""
        active = [name for name, held in self._subscriptions.items() if held.active]
        for name in active:
            self._subscriptions[name].active = False
        return active

    async def release(self, partition: str) -> None:
        """Let another replica be the active one there, if there is one."""
        await self._subscriptions[partition].release()

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._subscriptions = {
            name: Subscription(connection, name, prefetch, self._message_callback(name))
            for name, prefetch in self._queues.items()
        }
        channels = {name: await held.open() for name, held in self._subscriptions.items()}
        return [channel for name, channel in channels.items() if name not in self._group_by_partition]

    def _is_consuming(self) -> bool:
        return self._stopping or all(held.is_alive for held in self._subscriptions.values())

    def _message_callback(self, queue: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def take(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs has a task
            self._tasks.add(task)
            try:
                await self._settle(queue, message)
            except (AMQPError, MessageProcessError, ConnectionError) as error:
                # The channel is gone: the message comes again, and the inbox knows whether it had its effect.
                log.warning("message not settled", queue=queue, error=error_summary(error))
            finally:
                self._tasks.discard(task)

        return take

    async def _settle(self, queue: str, message: AbstractIncomingMessage) -> None:
        wire = from_amqp(message)
        try:
            envelope = decode(wire)
        except Malformed as error:
            return await self._dead_letter(queue, message, wire, error.cause, error)
        if self._sequencer and queue in self._group_by_partition:
            return await self._handle_in_order(self._sequencer, queue, message, envelope)
        failure = await self._handle_through_circuit(self.consumer_circuits[queue], envelope, self._try_handle)
        if failure is not None:
            return await self._recover(queue, message, envelope, failure)
        return await message.ack()

    async def _handle_in_order(
        self, sequencer: KeySequencer, queue: str, message: AbstractIncomingMessage, envelope: Envelope
    ) -> None:
        """Acknowledged once it is handled, put down or parked. Its turn is asked for before anything is awaited."""
        group, marked = (
            self._group_by_partition[queue],
            replace(envelope, extra={**_first_failure_headers(message), **envelope.extra}),
        )
        async with sequencer.wait_turn(group, envelope.conversation_id):
            await self._handle_through_circuit(
                self.consumer_circuits[queue], marked, lambda said: sequencer.process_or_stay(group, said)
            )
        await self._require_settleable(queue, message).ack()

    async def _handle_through_circuit(
        self, circuit: ConsumerCircuit, envelope: Envelope, attempt: Callable[[Envelope], Awaitable[Exception | None]]
    ) -> Exception | None:
        """What the handler raised, where that is the message's own trouble; an outage is waited for with it in hand."""
        while True:
            await circuit.wait_until_closed()
            try:
                failure = await attempt(envelope)
            except Unreachable as error:
                circuit.record_failure(error)
                log.warning(
                    "message paused: dependency unreachable", error=error_summary(error), message_id=envelope.id
                )
                continue
            if failure is None:
                circuit.record_success()
            else:
                circuit.record_failure(failure)
            return failure

    async def _try_handle(self, envelope: Envelope) -> Exception | None:
        try:
            await self._handler(envelope)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; every message is settled
            return error
        return None

    async def _recover(
        self, queue: str, message: AbstractIncomingMessage, envelope: Envelope, error: Exception
    ) -> None:
        decision = decide(envelope, error, self._policies)
        if isinstance(decision, Retry):
            wire = _with_failure_headers(encode(envelope.next_attempt()), message)
            self._observer.on_retried(envelope, decision.delay_s)
            await self._move_and_ack(queue, message, self._dead_letter_publisher.delay(queue, wire, decision.delay_s))
        else:
            await self._dead_letter(queue, message, encode(envelope), decision.cause, error)

    async def _dead_letter(
        self, queue: str, message: AbstractIncomingMessage, wire: WireMessage, cause: str, error: Exception
    ) -> None:
        address = self._group_by_partition.get(queue, queue)
        await self._move_and_ack(
            queue,
            message,
            self._dead_letter_publisher.dead_letter(address, _with_failure_headers(wire, message), cause, error),
        )

    async def _move_and_ack(
        self, queue: str, message: AbstractIncomingMessage, move: Coroutine[Any, Any, None]
    ) -> None:
        """Confirmed there first, then acked here. Where it cannot go there it goes back, and the broker counts that."""
        try:
            await move
        except (Unreachable, Undeliverable) as failure:
            log.exception("retry or dead-letter publish refused", queue=queue, error=str(failure))
            await asyncio.sleep(1.0)
            return await self._require_settleable(queue, message).reject(requeue=True)
        return await self._require_settleable(queue, message).ack()

    def _require_settleable(self, queue: str, message: AbstractIncomingMessage) -> AbstractIncomingMessage:
        """Raises ConnectionError where it is another's by now, or comes again."""
        if not self._subscriptions[queue].can_settle(message):
            raise ConnectionError("the channel that it came by is closed")
        return message


def _first_failure_headers(message: AbstractIncomingMessage) -> dict[str, str]:
    return first_failure_headers(message.exchange or "", message.routing_key or "", utc_now())


def _with_failure_headers(wire: WireMessage, message: AbstractIncomingMessage) -> WireMessage:
    return WireMessage({**_first_failure_headers(message), **wire.headers}, wire.body)
