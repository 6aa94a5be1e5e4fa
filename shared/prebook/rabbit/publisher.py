"""Confirmed, mandatory publishing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError
from yarl import URL

from prebook.coupling.ports import Publisher
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.codec import Wire
from prebook.messaging.failures import spelled
from prebook.rabbit.frames import to_amqp
from prebook.rabbit.link import Link

CONFIRM_S = 10.0
"""Longer than a hung queue leader needs to be replaced, shorter than the relay's lease."""

FULL_PAUSE_S = (1.0, 3.0)
"""How long to leave a full queue alone. Trying at once would only be refused again, at the cost of a row's update."""


class RabbitPublisher(Publisher):
    """Implements coupling.ports.Publisher on a connection of its own: a blocked publisher must not stop consumers."""

    def __init__(self, url: str, service: str) -> None:
        self._user = URL(url).user or "guest"
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._in_flight: dict[str | None, asyncio.Event] = {}
        self.link = Link(url, f"{service} publishes", self._opened)

    async def publish(self, exchange: str, key: str, wire: Wire, *, expires_at: datetime | None = None) -> None:
        if not self.link.up.is_set():
            raise Unreachable("there is no connection to the broker")
        message = to_amqp(wire, user=self._user, expires_at=expires_at)
        try:
            async with asyncio.timeout(CONFIRM_S), self._alone(message.message_id):
                result = await (await self._exchange(exchange)).publish(message, key, mandatory=True)
        except PublishError:
            text = f"{exchange} routes {key!r} to no queue; declare the topology"
            raise Undeliverable(text, cause="unroutable") from None
        except DeliveryError:
            raise Unreachable(f"a queue behind {exchange} {key!r} refused it or is full", reason="nacked") from None
        except TimeoutError:
            raise Unreachable(f"no confirm within {CONFIRM_S:g} s") from None
        except (AMQPError, aiormq.exceptions.AMQPError, ConnectionError, RuntimeError) as error:
            raise Unreachable(spelled(error)) from error
        except asyncio.CancelledError:
            # The client cancels the waiter when it notices a dead peer; nobody cancelled us.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unreachable("the connection was lost before the confirm") from None
        if not isinstance(result, aiormq.spec.Basic.Ack):
            raise Unreachable(f"the broker said {type(result).__name__} instead of a confirm")

    @asynccontextmanager
    async def _alone(self, message_id: str | None) -> AsyncIterator[None]:
        """One publish of an id at a time: the client knows what the broker returns by its message id, and takes the
        one for the other where two of them are under way. A message that goes nowhere would count as confirmed."""
        while before := self._in_flight.get(message_id):
            await before.wait()
        done = self._in_flight[message_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._in_flight[message_id]
            done.set()

    async def _opened(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._exchanges = {}
        return [self._channel]

    async def _exchange(self, name: str) -> AbstractExchange:
        if name not in self._exchanges:
            if self._channel is None:
                raise Unreachable("there is no connection to the broker")
            self._exchanges[name] = await self._channel.get_exchange(name, ensure=False)
        return self._exchanges[name]
