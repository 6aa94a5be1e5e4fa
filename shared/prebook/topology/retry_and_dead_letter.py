"""Retry ladder, parking and limits of every consumed queue.

Limits are policies, not arguments: an operator can change them without deleting a queue. A queue has one policy, and
the dead-letter routing key of a policy is one value, so each queue has its own policy.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.topology.values import (
    Arguments,
    Binding,
    Exchange,
    Grant,
    MessageGrant,
    Policy,
    Queue,
    Topology,
    arguments,
)

MAX_QUEUE_LENGTH = 50_000
"""Maximum number of messages in a queue; further ones are refused and stay in the publisher's outbox."""
UNLIMITED_DELIVERIES = 1_000_000
"""Delivery limit of the parking queue: inspecting it returns its messages, and the limit would drop them silently."""

PARKING_QUEUE = Queue(addresses.PARKING_QUEUE, consumer=OPERATIONS)
REPLAYABLE_EXCHANGES = frozenset({addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS})
"""Exchanges to which a parked message may be published again as at first."""


def with_retry_and_parking(base: Topology, delays_s: Iterable[float]) -> Topology:
    """Add retry, replay and parking to ``base``. ``delays_s``: delays of the retry ladder in seconds, a queue each."""
    delays = sorted(set(delays_s))
    whole = base | _parking() | _replay_grants(base) | Topology(message_grants=frozenset(_redelivery_grants(base)))
    for delay_s in delays:
        whole |= _delay_queue(delay_s) | _test_messages(delay_s)
    for queue in base.consumed_queues():
        whole |= _retry_and_parking(queue, delays)
    return whole


def exact_match(*names: str) -> str:
    """Return a regular expression that matches exactly these names; without names, it matches nothing (``^$``)."""
    return f"^({'|'.join(re.escape(name) for name in sorted(names))})$" if names else "^$"


def _retry_and_parking(queue: Queue, delays_s: Iterable[float]) -> Topology:
    """Let the consumer publish to the delay queues and to parking, with the queue's address as routing key."""
    exchanges = [addresses.PARKING, *map(_delay_exchange, delays_s)]
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        bindings=frozenset(
            {Binding(addresses.REDELIVER, queue.address, queue.address, to_exchange=bool(queue.partitioned_queue))}
        ),
        policies=frozenset({_policy(queue.name, _consumed_queue_limits(queue.address))}),
        grants=frozenset(Grant(queue.consumer, exchange, queue.address) for exchange in exchanges),
    )


def _delay_queue(delay_s: float) -> Topology:
    """Delay queue without a dead-letter routing key: a message keeps its own, which names the queue to return to."""
    name = addresses.delay_queue(delay_s)
    limits = arguments(
        message_ttl=round(delay_s * 1000),
        dead_letter_exchange=addresses.REDELIVER,
        dead_letter_strategy="at-least-once",
        delivery_limit=DELIVERY_LIMIT,
        max_length=MAX_QUEUE_LENGTH,
        overflow="reject-publish",
    )
    return _catch_all_queue(_delay_exchange(delay_s), Queue(name), limits)


def _delay_exchange(delay_s: float) -> ExchangeName:
    return addresses.exchange_before(addresses.delay_queue(delay_s))


def _test_messages(delay_s: float) -> Topology:
    """Let operations send test messages through a delay queue to the queue that it consumes. Source: EIP."""
    return Topology(
        bindings=frozenset({Binding(addresses.REDELIVER, addresses.TEST_MESSAGE, PARKING_QUEUE.name)}),
        grants=frozenset({Grant(OPERATIONS, _delay_exchange(delay_s), addresses.TEST_MESSAGE)}),
    )


def _parking() -> Topology:
    """Parking without a length limit: a message that cannot be parked would block its queue unnoticed."""
    limits = arguments(delivery_limit=UNLIMITED_DELIVERIES)
    return _catch_all_queue(addresses.PARKING, PARKING_QUEUE, limits)


def _replay_grants(base: Topology) -> Topology:
    """Let operations publish whatever any service may publish, and return a message to the queue it came from."""
    resend = (Grant(OPERATIONS, g.exchange, g.routing_key) for g in base.grants if g.exchange in REPLAYABLE_EXCHANGES)
    redeliver = (Grant(OPERATIONS, addresses.REDELIVER, queue.address) for queue in base.consumed_queues())
    return Topology(grants=frozenset({*resend, *redeliver}))


def _redelivery_grants(base: Topology) -> Iterator[MessageGrant]:
    """Let operations send again what any service may send, and let a consumer return its own messages to itself."""
    consumer_by_address = {queue.address: queue.consumer for queue in base.consumed_queues()}
    for grant in base.message_grants:
        yield replace(grant, account=OPERATIONS)
        for account in (OPERATIONS, consumer_by_address[grant.queue]):
            yield replace(grant, account=account, exchange=addresses.REDELIVER, routing_key=grant.queue)


def _catch_all_queue(exchange: ExchangeName, queue: Queue, limits: Arguments) -> Topology:
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
