"""Queues and exchanges of the pattern experiments, with the limits of the suite's queues."""

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.drawing import message_path
from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.topology.model import union
from prebook.topology.retry_and_dead_letter import with_retry_and_parking
from prebook.topology.values import Binding, Exchange, Queue, Topology

EVENT_KEY = addresses.event_routing_key(OFFER_SETTLED.name)
"""Routing key of the messages of all pattern experiments at an exchange with subscriptions."""


def direct_queue(arrangement: str, name: str, consumer: str) -> Topology:
    """Return a queue to which the redelivery exchange routes by name."""
    queue = Queue(QueueName(name), consumer=consumer)
    base = Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset({queue}),
        bindings=frozenset({Binding(addresses.REDELIVER, name, queue.name)}),
    )
    path = message_path(arrangement, OFFER_SETTLED.publisher, addresses.REDELIVER, name, consumer)
    return with_retry_and_parking(base, ()) | path


def subscriptions(arrangement: str, exchange: str, consumers: dict[str, str]) -> Topology:
    """Return an exchange with a queue per subscriber. ``consumers``: queue -> consuming service."""
    source = Exchange(ExchangeName(exchange))
    queues = [Queue(QueueName(name), consumer=consumer) for name, consumer in consumers.items()]
    base = Topology(
        exchanges=frozenset({source}),
        queues=frozenset(queues),
        bindings=frozenset(Binding(source.name, EVENT_KEY, queue.name) for queue in queues),
    )
    paths = (
        message_path(arrangement, OFFER_SETTLED.publisher, exchange, name, consumer)
        for name, consumer in consumers.items()
    )
    return with_retry_and_parking(base, ()) | union(paths)
