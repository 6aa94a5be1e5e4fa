"""Tell and go on: requests, answers and facts are events; the sender knows no receiver."""

from collections.abc import Callable, Mapping

from prebook.coupling.ports import BROKER_ROUTE, Publisher
from prebook.messaging import addresses
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind

ROUTING_KEYS: Mapping[MessageKind, Callable[[str], str]] = {
    MessageKind.REQUEST: addresses.request_routing_key,
    MessageKind.REPLY: addresses.reply_routing_key,
    MessageKind.EVENT: addresses.event_routing_key,
}


class OneWay:
    traits = CouplingTraits(replies_inline=False, needs_provider_up=False, needs_broker_up=True, uses_outbox=True)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def route(self, envelope: Envelope) -> str:  # noqa: ARG002 - every envelope takes the broker's lane
        return BROKER_ROUTE

    def addressed(self, request: Envelope) -> Envelope:
        """No return address: whoever wants the answer subscribes to it."""
        return request

    async def send(self, envelope: Envelope) -> None:
        key = ROUTING_KEYS[envelope.kind](envelope.flow)
        await self._publisher.publish(addresses.EVENTS, key, encode(envelope), expires_at=envelope.expires_at)

    async def reply(self, reply: Envelope) -> None:
        await self._publisher.publish(addresses.EVENTS, addresses.reply_routing_key(reply.flow), encode(reply))

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - it knows no provider
        return None
