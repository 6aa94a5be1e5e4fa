"""Ask by message: a command to the provider's queue, and the answer on the caller's reply queue."""

from prebook.coupling.ports import BROKER_ROUTE, Publisher
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable


class RequestReply:
    traits = CouplingTraits(replies_inline=False, needs_provider_up=False, needs_broker_up=True, uses_outbox=True)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def route(self, envelope: Envelope) -> str:  # noqa: ARG002 - every envelope takes the broker's lane
        return BROKER_ROUTE

    def addressed(self, request: Envelope) -> Envelope:
        return request.with_reply_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        await self._publisher.publish(
            addresses.REQUESTS, envelope.flow, encode(envelope), expires_at=envelope.expires_at
        )

    async def reply(self, reply: Envelope) -> None:
        """Only the flow's caller is answered, whatever address a request claims."""
        if reply.reply_to != FLOWS[reply.flow].caller:
            raise Undeliverable(f"{reply.reply_to!r} is no caller of {reply.flow}")
        await self._publisher.publish(addresses.REPLIES, reply.reply_to, encode(reply))

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - the queue waits, the caller need not
        return None
