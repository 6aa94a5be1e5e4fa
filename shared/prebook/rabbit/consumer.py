"""Takes messages off the service's queues, hands them to the door, and settles every one of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.coupling.ports import Publisher
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import Malformed, Wire, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import spelled
from prebook.messaging.observer import Watch
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.consumer_circuit import Gate
from prebook.messaging.recoverability.decision import decide
from prebook.messaging.recoverability.key_sequencer import Ordering
from prebook.patterns.retry import Retry
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import Link, connected
from prebook.rabbit.dead_letter_publisher import Aside, first_marks
from prebook.rabbit.subscription import Subscription

Door = Callable[[Envelope], Awaitable[None]]
log = structlog.get_logger()


class RabbitConsumer:
    """``queues`` maps each queue to its prefetch: how many of its messages are worked on at a time.

    What comes from a partition of ``order``'s groups is handled in order.
    """

    def __init__(
        self,
        url: str,
        service: str,
        queues: Mapping[str, int],
        door: Door,
        *,
        publisher: Publisher,
        policies: Policies,
        watch: Watch,
        order: Ordering | None = None,
    ) -> None:
        self._queues, self._door, self._policies, self._watch = queues, door, policies, watch
        self._order, self._aside = order, Aside(publisher, watch)
        self._groups = order.groups if order else {}
        self._subscriptions: dict[str, Subscription] = {}
        self._at_work: set[asyncio.Task[None]] = set()
        self.gates: Mapping[str, Gate] = {queue: Gate() for queue in queues}
        self._stopping = False
        self.link = Link(url, f"{service} consumes", self._opened, connect=connected, healthy=self._consuming)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Take nothing more, and let what is under way end."""
        self._stopping = True
        with contextlib.suppress(AMQPError, ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                for held in self._subscriptions.values():
                    await held.cancel()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=timeout_s)

    def lately_active(self) -> list[str]:
        """Queues from which something has come since this was last asked."""
        active = [name for name, held in self._subscriptions.items() if held.active]
        for name in active:
            self._subscriptions[name].active = False
        return active

    async def cede(self, partition: str) -> None:
        """Let another replica be the active one there, if there is one."""
        await self._subscriptions[partition].cede()

    async def _opened(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._subscriptions = {
            name: Subscription(connection, name, prefetch, self._taker(name)) for name, prefetch in self._queues.items()
        }
        channels = {name: await held.open() for name, held in self._subscriptions.items()}
        return [channel for name, channel in channels.items() if name not in self._groups]

    def _consuming(self) -> bool:
        return self._stopping or all(held.alive for held in self._subscriptions.values())

    def _taker(self, queue: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def take(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs has a task
            self._at_work.add(task)
            try:
                await self._settle(queue, message)
            except (AMQPError, MessageProcessError, ConnectionError) as error:
                # The channel is gone: the message comes again, and the inbox knows whether it had its effect.
                log.warning("not settled", queue=queue, error=spelled(error))
            finally:
                self._at_work.discard(task)

        return take

    async def _settle(self, queue: str, message: AbstractIncomingMessage) -> None:
        wire = from_amqp(message)
        try:
            envelope = decode(wire)
        except Malformed as error:
            return await self._park(queue, message, wire, error.cause, error)
        if self._order and queue in self._groups:
            return await self._in_order(self._order, queue, message, envelope)
        failure = await self._through(self.gates[queue], envelope, self._tried)
        if failure is not None:
            return await self._recover(queue, message, envelope, failure)
        return await message.ack()

    async def _in_order(
        self, order: Ordering, queue: str, message: AbstractIncomingMessage, envelope: Envelope
    ) -> None:
        """Acknowledged once it is handled, put down or parked. Its turn is asked for before anything is awaited."""
        group, marked = self._groups[queue], replace(envelope, extra={**_first(message), **envelope.extra})
        async with order.turn(group, envelope.conversation):
            await self._through(self.gates[queue], marked, lambda said: order.kept(group, said))
        await self._held(queue, message).ack()

    async def _through(
        self, gate: Gate, envelope: Envelope, attempt: Callable[[Envelope], Awaitable[Exception | None]]
    ) -> Exception | None:
        """What the handler raised, where that is the message's own trouble; an outage is waited for with it in hand."""
        while True:
            await gate.passed()
            try:
                failure = await attempt(envelope)
            except Unreachable as error:
                gate.failed(error)
                log.warning("held: what we stand on is away", error=spelled(error), message_id=envelope.id)
                continue
            if failure is None:
                gate.succeeded()
            else:
                gate.failed(failure)
            return failure

    async def _tried(self, envelope: Envelope) -> Exception | None:
        try:
            await self._door(envelope)
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
            wire = _marked(encode(envelope.again()), message)
            self._watch.retried(envelope, decision.pause_s)
            await self._moved(queue, message, self._aside.delay(queue, wire, decision.pause_s))
        else:
            await self._park(queue, message, encode(envelope), decision.cause, error)

    async def _park(
        self, queue: str, message: AbstractIncomingMessage, wire: Wire, cause: str, error: Exception
    ) -> None:
        address = self._groups.get(queue, queue)
        await self._moved(queue, message, self._aside.park(address, _marked(wire, message), cause, error))

    async def _moved(self, queue: str, message: AbstractIncomingMessage, move: Coroutine[Any, Any, None]) -> None:
        """Confirmed there first, then acked here. Where it cannot go there it goes back, and the broker counts that."""
        try:
            await move
        except (Unreachable, Undeliverable) as failure:
            log.exception("cannot set aside", queue=queue, error=str(failure))
            await asyncio.sleep(1.0)
            return await self._held(queue, message).reject(requeue=True)
        return await self._held(queue, message).ack()

    def _held(self, queue: str, message: AbstractIncomingMessage) -> AbstractIncomingMessage:
        """Raises ConnectionError where it is another's by now, or comes again."""
        if not self._subscriptions[queue].holds(message):
            raise ConnectionError("the channel that it came by is closed")
        return message


def _first(message: AbstractIncomingMessage) -> dict[str, str]:
    return first_marks(message.exchange or "", message.routing_key or "", utc_now())


def _marked(wire: Wire, message: AbstractIncomingMessage) -> Wire:
    return Wire({**_first(message), **wire.headers}, wire.body)
