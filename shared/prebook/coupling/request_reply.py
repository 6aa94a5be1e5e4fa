"""Request-reply coupling: a command to the provider's queue, and the reply on the caller's reply queue.

Source: EIP, Request-Reply.
"""

from dataclasses import dataclass

from prebook.coupling.broker_channel import BrokerChannel
from prebook.coupling.return_address import caller_of
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Address of a message on the broker."""

    exchange: str
    routing_key: str
    queue: str
    """Queue, or message group, that the exchange routes the message to."""


def address_of(envelope: Envelope) -> BrokerAddress:
    """Return the address of a request or reply in this coupling. Its queues exist for every flow and in every plan."""
    flow = FLOWS[envelope.flow]
    if envelope.kind is MessageKind.REQUEST:
        return BrokerAddress(addresses.REQUESTS, flow.name, addresses.request_queue(flow.provider, flow.name))
    routing_key = addresses.caller_routing_key(flow.caller, flow.name)
    return BrokerAddress(addresses.REPLIES, routing_key, addresses.reply_queue(flow.caller))


class RequestReply(BrokerChannel):
    """Channel of the ``request_reply`` coupling."""

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request with its sender as return address."""
        return request.with_reply_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        """Publish a request to the provider's queue. Raises Unreachable, Undeliverable."""
        address = address_of(envelope)
        await self._publisher.publish(
            address.exchange, address.routing_key, encode(envelope), expires_at=envelope.expires_at
        )

    async def reply(self, reply: Envelope) -> None:
        """Publish a reply to the queue of the flow's caller. Raises Unreachable, Undeliverable."""
        caller_of(reply)  # refuses a forged return address
        address = address_of(reply)
        await self._publisher.publish(address.exchange, address.routing_key, encode(reply))
