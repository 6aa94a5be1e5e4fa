"""Request-reply coupling: a command to the provider's queue, and the reply on the caller's reply queue.

Source: EIP, Request-Reply.
"""

from prebook.coupling.broker_channel import BrokerChannel
from prebook.coupling.return_address import caller_of
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope


class RequestReply(BrokerChannel):
    """Channel of the ``request_reply`` coupling."""

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request with its sender as return address."""
        return request.with_reply_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        """Publish a request to the provider's queue. Raises Unreachable, Undeliverable."""
        await self._publisher.publish(
            addresses.REQUESTS, envelope.flow, encode(envelope), expires_at=envelope.expires_at
        )

    async def reply(self, reply: Envelope) -> None:
        """Publish a reply to the queue of the flow's caller. Raises Unreachable, Undeliverable."""
        await self._publisher.publish(addresses.REPLIES, caller_of(reply), encode(reply))
