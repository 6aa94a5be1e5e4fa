"""Base of the channels over the broker, ``one_way`` and ``request_reply``."""

from prebook.coupling.ports import BROKER_ROUTE, Publisher
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.envelope import Envelope


class BrokerChannel:
    """Channel whose messages leave through the outbox to the broker; the provider may be down."""

    traits = CouplingTraits(replies_inline=False, needs_broker_up=True, uses_outbox=True)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def route(self, envelope: Envelope) -> str:  # noqa: ARG002 - all messages share the broker's route
        """Return the one route of all messages over the broker."""
        return BROKER_ROUTE

    async def poll(self, request: Envelope) -> None:
        """Return None: the broker keeps the reply until it is delivered."""

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - the broker keeps requests of any provider
        """Return None: requests wait in the provider's queue."""
        return None
