"""Publisher that records each hop in the message's history. Source: EIP, Message History."""

from datetime import datetime

from prebook.coupling.ports import Publisher
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import HISTORY_HEADER
from prebook.patterns.message_history import hop, with_hop

PREFIX = "prebook."
"""Prefix of the suite's exchange names. Hops omit it to stay short, because every message carries them."""


def hop_of(component: str, exchange: str) -> str:
    """Return the hop of a message that ``component`` publishes to ``exchange``."""
    return hop(component, exchange.removeprefix(PREFIX))


class HistoryPublisher(Publisher):
    """Adds the hop of ``component`` to the copy that it publishes.

    The stored message, in an outbox or unacknowledged in a queue, stays as it is. So a publication that is repeated
    after a crash has the same history, without a further hop.
    """

    def __init__(self, publisher: Publisher, component: str) -> None:
        self._publisher = publisher
        self._component = component

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish the message with its next hop. Raises what the publisher raises."""
        history = with_hop(message.headers.get(HISTORY_HEADER, ""), hop_of(self._component, exchange))
        recorded = WireMessage({**message.headers, HISTORY_HEADER: history}, message.body)
        await self._publisher.publish(exchange, routing_key, recorded, expires_at=expires_at)
