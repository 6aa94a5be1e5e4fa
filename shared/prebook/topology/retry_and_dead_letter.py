"""What every consumed queue gets beside its messages: the delay ladder, the way back, parking, limits.

Limits are policies, not arguments: an operator can change them without deleting a queue. A policy's
dead-letter routing key is one value and a queue has one policy, so each queue has a policy of its own.
"""

import re
from collections.abc import Iterable

from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.topology.values import Arguments, Binding, Exchange, Grant, Policy, Queue, Topology, arguments

LONGEST_QUEUE = 50_000
"""Messages; a publisher is refused beyond it, and waits with its outbox."""
DELIVERY_LIMIT = 20
"""For crash loops alone: services count their own attempts, and use fewer. The default differs by version."""
NO_DELIVERY_LIMIT = 1_000_000
"""Looking into parked messages returns them, and one too many returns would drop them without a trace."""

PARKED = Queue(addresses.PARKED_QUEUE, consumer=OPERATIONS)
RESENT = frozenset({addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS})
"""Where a parked message may be sent again as it was at first."""


def with_recovery(flowing: Topology, backoffs: Iterable[float]) -> Topology:
    """``backoffs`` in seconds: one rung for each."""
    pauses = sorted(set(backoffs))
    whole = flowing | _parking() | _replayed(flowing)
    for pause in pauses:
        whole |= _rung(pause)
    for queue in flowing.consumed():
        whole |= _recovered(queue, pauses)
    return whole


def exactly(*names: str) -> str:
    """A regular expression that matches these names and nothing else; ``^$``, which matches none, for no names."""
    return f"^({'|'.join(re.escape(name) for name in sorted(names))})$" if names else "^$"


def _recovered(queue: Queue, pauses: Iterable[float]) -> Topology:
    """Its consumer may send its messages to the delays and to parking, under the queue's address."""
    places = [addresses.PARKING, *map(addresses.delay, pauses)]
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        bindings=frozenset({Binding(addresses.REDELIVER, queue.address, queue.address, onward=bool(queue.group))}),
        policies=frozenset({_policy(queue.name, _consumed(queue.address))}),
        grants=frozenset(Grant(queue.consumer, place, queue.address) for place in places),
    )


def _rung(pause_s: float) -> Topology:
    """No dead-letter routing key: a message keeps the one it was published with, the queue to return to."""
    name = addresses.delay(pause_s)
    limits = arguments(
        message_ttl=round(pause_s * 1000),
        dead_letter_exchange=addresses.REDELIVER,
        dead_letter_strategy="at-least-once",
        delivery_limit=DELIVERY_LIMIT,
        max_length=LONGEST_QUEUE,
        overflow="reject-publish",
    )
    return _caught(name, Queue(name), limits)


def _parking() -> Topology:
    """Without a length limit: what cannot be parked would be stuck unseen where it came from."""
    limits = arguments(delivery_limit=NO_DELIVERY_LIMIT)
    return _caught(addresses.PARKING, PARKED, limits)


def _replayed(flowing: Topology) -> Topology:
    """Operations may say again what anybody may say, and give any queue back what came from it."""
    again = (Grant(OPERATIONS, g.exchange, g.key) for g in flowing.grants if g.exchange in RESENT)
    back = (Grant(OPERATIONS, addresses.REDELIVER, queue.address) for queue in flowing.consumed())
    return Topology(grants=frozenset({*again, *back}))


def _caught(exchange: str, queue: Queue, limits: Arguments) -> Topology:
    return Topology(
        exchanges=frozenset({Exchange(exchange)}),
        queues=frozenset({queue}),
        bindings=frozenset({Binding(exchange, "#", queue.name)}),
        policies=frozenset({_policy(queue.name, limits)}),
    )


def _consumed(queue: str) -> Arguments:
    return arguments(
        delivery_limit=DELIVERY_LIMIT,
        dead_letter_exchange=addresses.PARKING,
        dead_letter_routing_key=queue,
        dead_letter_strategy="at-least-once",
        max_length=LONGEST_QUEUE,
        overflow="reject-publish",
    )


def _policy(queue: str, definition: Arguments) -> Policy:
    return Policy(queue, exactly(queue), definition)
