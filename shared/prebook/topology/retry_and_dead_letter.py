"""What every consumed queue gets beside its messages: the delay ladder, the way back, parking, limits.

Limits are policies, not arguments: an operator can change them without deleting a queue. A policy's
dead-letter routing key is one value and a queue has one policy, so each queue has a policy of its own.
"""

import re
from collections.abc import Iterable

from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.topology.values import Arguments, Binding, Exchange, Grant, Policy, Queue, Topology, arguments

MAX_QUEUE_LENGTH = 50_000
"""Messages; a publisher is refused beyond it, and waits with its outbox."""
DELIVERY_LIMIT = 20
"""For crash loops alone: services count their own attempts, and use fewer. The default differs by version."""
UNLIMITED_DELIVERIES = 1_000_000
"""Looking into parked messages returns them, and one too many returns would drop them without a trace."""

PARKING_QUEUE = Queue(addresses.PARKING_QUEUE, consumer=OPERATIONS)
REPLAYABLE_EXCHANGES = frozenset({addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS})
"""Where a parked message may be sent again as it was at first."""


def with_retry_and_parking(base: Topology, delays_s: Iterable[float]) -> Topology:
    """Add retry, replay and parking to ``base``. ``delays_s`` has the delays of the retry ladder, a queue each."""
    delays = sorted(set(delays_s))
    whole = base | _parking() | _replay_grants(base)
    for delay_s in delays:
        whole |= _delay_queue(delay_s)
    for queue in base.consumed_queues():
        whole |= _retry_and_parking(queue, delays)
    return whole


def exact_match(*names: str) -> str:
    """A regular expression that matches these names and nothing else; ``^$``, which matches none, for no names."""
    return f"^({'|'.join(re.escape(name) for name in sorted(names))})$" if names else "^$"


def _retry_and_parking(queue: Queue, delays_s: Iterable[float]) -> Topology:
    """Its consumer may send its messages to the delays and to parking, under the queue's address."""
    places = [addresses.PARKING, *map(addresses.delay_queue, delays_s)]
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        bindings=frozenset(
            {Binding(addresses.REDELIVER, queue.address, queue.address, to_exchange=bool(queue.partitioned_queue))}
        ),
        policies=frozenset({_policy(queue.name, _consumed_queue_limits(queue.address))}),
        grants=frozenset(Grant(queue.consumer, place, queue.address) for place in places),
    )


def _delay_queue(delay_s: float) -> Topology:
    """No dead-letter routing key: a message keeps the one it was published with, the queue to return to."""
    name = addresses.delay_queue(delay_s)
    limits = arguments(
        message_ttl=round(delay_s * 1000),
        dead_letter_exchange=addresses.REDELIVER,
        dead_letter_strategy="at-least-once",
        delivery_limit=DELIVERY_LIMIT,
        max_length=MAX_QUEUE_LENGTH,
        overflow="reject-publish",
    )
    return _catch_all_queue(name, Queue(name), limits)


def _parking() -> Topology:
    """Without a length limit: what cannot be parked would be stuck unseen where it came from."""
    limits = arguments(delivery_limit=UNLIMITED_DELIVERIES)
    return _catch_all_queue(addresses.PARKING, PARKING_QUEUE, limits)


def _replay_grants(base: Topology) -> Topology:
    """Operations may say again what anybody may say, and give any queue back what came from it."""
    again = (Grant(OPERATIONS, g.exchange, g.routing_key) for g in base.grants if g.exchange in REPLAYABLE_EXCHANGES)
    back = (Grant(OPERATIONS, addresses.REDELIVER, queue.address) for queue in base.consumed_queues())
    return Topology(grants=frozenset({*again, *back}))


def _catch_all_queue(exchange: str, queue: Queue, limits: Arguments) -> Topology:
    return Topology(
        exchanges=frozenset({Exchange(exchange)}),
        queues=frozenset({queue}),
        bindings=frozenset({Binding(exchange, "#", queue.name)}),
        policies=frozenset({_policy(queue.name, limits)}),
    )


def _consumed_queue_limits(queue: str) -> Arguments:
    return arguments(
        delivery_limit=DELIVERY_LIMIT,
        dead_letter_exchange=addresses.PARKING,
        dead_letter_routing_key=queue,
        dead_letter_strategy="at-least-once",
        max_length=MAX_QUEUE_LENGTH,
        overflow="reject-publish",
    )


def _policy(queue: str, definition: Arguments) -> Policy:
    return Policy(queue, exact_match(queue), definition)
