"""In-memory broker: queues as deques, behind the exchanges and bindings of the topology model."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from datetime import datetime

from prebook.coupling.ports import Publisher
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.topology.values import ANY_ROUTING_KEY, Binding, Topology


class MemoryBroker(Publisher):
    """Broker that routes every message as the topology says, partitions of message groups included.

    Of the policies it keeps those of the delay queues, whose messages return at once. No queue is ever full.
    """

    def __init__(self, topology: Topology | None = None, copies: int = 1) -> None:
        """``copies``: deliveries of every message."""
        self._bindings: dict[str, set[Binding]] = defaultdict(set)
        for binding in topology.bindings if topology else ():
            self._bindings[binding.exchange].add(binding)
        self._delay_queues = _dead_letter_exchange_by_delay_queue(topology) if topology else {}
        self.queues: dict[str, deque[WireMessage]] = defaultdict(deque)
        self.copies = copies
        self.is_down = False
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.published: list[tuple[str, str, WireMessage]] = []

    def bind(self, exchange: ExchangeName, key: str, queue: QueueName) -> None:
        """Route messages with this routing key to ``queue``, too."""
        self._bindings[exchange].add(Binding(exchange, key, queue))

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise Unreachable("the broker is down")
        queues = set(self._route(exchange, routing_key, message.headers))
        if not queues:
            raise Undeliverable(f"{exchange} routes {routing_key!r} to no queue", cause="unroutable")
        self.published.append((exchange, routing_key, message))
        for queue in queues:
            self.queues[queue].extend([message] * self.copies)
            self._arrived[queue].set()

    async def wait_for_message(self, queue: str) -> None:
        """Return once a message has arrived in the queue since the last call."""
        await self._arrived[queue].wait()
        self._arrived[queue].clear()

    def _route(self, exchange: str, routing_key: str, headers: Mapping[str, str]) -> Iterator[str]:
        """Yield the queues that the exchange routes the message to, through other exchanges too."""
        for binding in self._bindings[exchange]:
            if not _matches(binding, routing_key, headers):
                continue
            if binding.to_exchange:
                yield from self._route(binding.destination, routing_key, headers)
            elif binding.destination in self._delay_queues:
                yield from self._route(self._delay_queues[binding.destination], routing_key, headers)
            else:
                yield binding.destination


def _dead_letter_exchange_by_delay_queue(topology: Topology) -> dict[str, str]:
    """Exchange by delay queue: a message keeps its routing key there, which names the queue to return to."""
    definitions = {policy.name: dict(policy.definition) for policy in topology.policies}
    return {
        queue: str(definition["dead-letter-exchange"])
        for queue, definition in definitions.items()
        if "message-ttl" in definition
    }


def _matches(binding: Binding, routing_key: str, headers: Mapping[str, str]) -> bool:
    """Whether the message meets the binding; bindings of a headers exchange have arguments."""
    if binding.arguments:
        return all(headers.get(name) == value for name, value in binding.arguments if name != "x-match")
    return binding.routing_key in (routing_key, ANY_ROUTING_KEY)
