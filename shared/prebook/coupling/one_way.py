"""One-way coupling: requests, replies and events are published to a topic exchange; the sender knows no receiver.

Source: EIP, Publish-Subscribe Channel.
"""

from collections.abc import Callable, Mapping

from prebook.coupling.broker_channel import BrokerChannel
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind

ROUTING_KEYS: Mapping[MessageKind, Callable[[str], str]] = {
    MessageKind.REQUEST: addresses.request_routing_key,
    MessageKind.REPLY: addresses.reply_routing_key,
    MessageKind.EVENT: addresses.event_routing_key,
}
"""Routing key of a message, by its kind and flow (or event name)."""


class OneWay(BrokerChannel):
    """Channel of the ``one_way`` coupling; also carries the events of every plan."""

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request unchanged: the caller subscribes to replies, so no return address is needed."""
        return request

    async def send(self, envelope: Envelope) -> None:
        """Publish a request or an event. Raises Unreachable, Undeliverable."""
        routing_key = ROUTING_KEYS[envelope.kind](envelope.flow)
        await self._publisher.publish(addresses.EVENTS, routing_key, encode(envelope), expires_at=envelope.expires_at)

    async def reply(self, reply: Envelope) -> None:
        """Publish a reply, which never expires. Raises Unreachable, Undeliverable."""
        await self._publisher.publish(addresses.EVENTS, addresses.reply_routing_key(reply.flow), encode(reply))
