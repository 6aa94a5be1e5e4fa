"""Message groups on the broker: an exchange, and one queue with a single active consumer per partition.

The exchange is a headers exchange and matches the hash slot of each message. RabbitMQ's consistent-hash exchange needs
a plugin, and moves keys to other queues after a restart (docs/decisions/0011-message-groups.md).
"""

from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.messaging.headers import HASH_SLOT_HEADER
from prebook.patterns.message_groups import hash_slots_of
from prebook.topology.values import Binding, Exchange, Queue, Topology, arguments

SINGLE_ACTIVE_CONSUMER = arguments(x_queue_type="quorum", x_single_active_consumer=True)


def partitioned_topology(partitioned_queue: QueueName, partitions: int, consumer: str) -> Topology:
    """Return a message group: its exchange routes every message to the partition of its key.

    ``partitioned_queue``: name of the group and of its exchange; ``consumer``: service that consumes all
    ``partitions``. Messages without a hash slot go to the first partition.
    """
    exchange = addresses.exchange_before(partitioned_queue)
    unpartitioned = Exchange(addresses.unpartitioned(partitioned_queue))
    exchange_arguments = arguments(alternate_exchange=unpartitioned.name)
    queues = [
        Queue(
            addresses.partition_queue(partitioned_queue, n),
            SINGLE_ACTIVE_CONSUMER,
            consumer=consumer,
            partitioned_queue=partitioned_queue,
        )
        for n in range(partitions)
    ]
    slots = (
        _hash_slot_binding(exchange, queue, number)
        for n, queue in enumerate(queues)
        for number in hash_slots_of(n, partitions)
    )
    return Topology(
        exchanges=frozenset({Exchange(exchange, "headers", arguments=exchange_arguments), unpartitioned}),
        queues=frozenset(queues),
        bindings=frozenset({*slots, Binding(unpartitioned.name, "#", queues[0].name)}),
    )


def _hash_slot_binding(exchange: ExchangeName, queue: Queue, number: int) -> Binding:
    match: dict[str, str] = {"x_match": "all", HASH_SLOT_HEADER: str(number)}
    return Binding(exchange, "", queue.name, arguments(**match))
