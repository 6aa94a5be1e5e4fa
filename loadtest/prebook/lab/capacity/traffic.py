"""Messages of one ride by the queue that receives them, from the flows, the event types and the settings' defaults."""

from collections.abc import Mapping
from dataclasses import dataclass

from prebook.contracts.plan import Coupling
from prebook.flows import (
    ALL_FLOWS,
    ASK_FLEET,
    BOOKING_CONFIRMED,
    EVENT_PARTITIONS,
    EVENT_TYPES,
    OFFER_SETTLED,
)
from prebook.messaging import addresses
from prebook.runtime.offer_settings import DEFAULT_FLEETS

EVENTS_PER_RIDE: Mapping[str, int] = {
    BOOKING_CONFIRMED.name: 1,
    OFFER_SETTLED.name: len(DEFAULT_FLEETS) - 1,
}
"""Events of a confirmed ride, by type: each offer that was not accepted is withdrawn. Others come only with
cancellations, callbacks, trips and routes."""
REQUEST_QUEUES = {
    Coupling.ONE_WAY: (addresses.one_way_request_queue, addresses.one_way_reply_queue),
    Coupling.REQUEST_REPLY: (addresses.request_queue, addresses.reply_queue),
}


@dataclass(frozen=True)
class QueueTraffic:
    """Messages that one queue receives for each ride; those of a message group are spread over its partitions."""

    address: str
    messages: float
    partitions: int = 0

    @property
    def per_queue(self) -> float:
        """Messages of a ride at the address's only queue, or at each of its partitions."""
        return self.messages / (self.partitions or 1)


def queue_traffic(coupling: Coupling) -> tuple[QueueTraffic, ...]:
    """Return the queues that receive messages of a ride whose flows all use ``coupling``, the busiest first."""
    received: dict[str, QueueTraffic] = {}

    def add(address: str, messages: int, partitions: int) -> None:
        earlier = received.get(address, QueueTraffic(address, 0, partitions))
        received[address] = QueueTraffic(address, earlier.messages + messages, partitions)

    for flow in ALL_FLOWS if coupling in REQUEST_QUEUES else ():
        request_queue, reply_queue = REQUEST_QUEUES[coupling]
        requests = len(DEFAULT_FLEETS) if flow == ASK_FLEET else 1
        add(request_queue(flow.provider, flow.name), requests, flow.partitions)
        add(reply_queue(flow.caller), requests, 0)
    for event in EVENT_TYPES:
        for subscriber in event.subscribers if event.name in EVENTS_PER_RIDE else ():
            add(addresses.event_queue(subscriber), EVENTS_PER_RIDE[event.name], EVENT_PARTITIONS.get(subscriber, 0))
    return tuple(sorted(received.values(), key=lambda queue: (-queue.per_queue, queue.address)))


def messages_per_ride(coupling: Coupling) -> int:
    """Return the messages that a ride publishes to the broker."""
    requests = sum(len(DEFAULT_FLEETS) if flow == ASK_FLEET else 1 for flow in ALL_FLOWS)
    return (2 * requests if coupling in REQUEST_QUEUES else 0) + sum(EVENTS_PER_RIDE.values())
