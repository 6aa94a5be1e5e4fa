"""Tell and go on: requests, answers and facts are events; the sender knows no receiver."""

from collections.abc import Callable, Mapping

from prebook.coupling.ports import BROKER_LANE, Publisher
from prebook.messaging import addresses
from prebook.messaging.channel import Traits
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, Kind

ROUTING_KEYS: Mapping[Kind, Callable[[str], str]] = {
    Kind.REQUEST: addresses.asked,
    Kind.ANSWER: addresses.answered,
    Kind.FACT: addresses.fact,
}


class OneWay:
    traits = Traits(answers_inline=False, needs_provider_up=False, needs_broker_up=True, uses_outbox=True)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def lane(self, envelope: Envelope) -> str:  # noqa: ARG002 - every envelope takes the broker's lane
        return BROKER_LANE

    def stamped(self, request: Envelope) -> Envelope:
        """No return address: whoever wants the answer subscribes to it."""
        return request

    async def send(self, envelope: Envelope) -> None:
        key = ROUTING_KEYS[envelope.kind](envelope.flow)
        await self._publisher.publish(addresses.EVENTS, key, encode(envelope), expires_at=envelope.expires_at)

    async def reply(self, answer: Envelope) -> None:
        await self._publisher.publish(addresses.EVENTS, addresses.answered(answer.flow), encode(answer))

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - it knows no provider
        return None
