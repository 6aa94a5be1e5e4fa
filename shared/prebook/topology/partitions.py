"""Message groups on the broker: one queue for each partition, with one active consumer, behind an exchange of its own.

The exchange matches the slot that each message carries. It is RabbitMQ's headers exchange: the consistent-hash plugin
must be enabled first, and gives keys to other queues after a restart (deploy/decisions/0011).
"""

from prebook.messaging import addresses
from prebook.messaging.codec import SLOT
from prebook.patterns.message_groups import slots_of
from prebook.topology.values import Binding, Exchange, Queue, Topology, arguments

ONE_AT_A_TIME = arguments(x_queue_type="quorum", x_single_active_consumer=True)


def grouped(group: str, partitions: int, consumer: str) -> Topology:
    """Whatever is routed to the exchange ``group`` comes to the partition of its key, and to no other."""
    slotless = Exchange(addresses.slotless(group), internal=True)
    named = arguments(alternate_exchange=slotless.name)
    queues = [
        Queue(addresses.partition(group, n), ONE_AT_A_TIME, consumer=consumer, group=group) for n in range(partitions)
    ]
    slots = (_slot(group, queue, number) for n, queue in enumerate(queues) for number in slots_of(n, partitions))
    return Topology(
        exchanges=frozenset({Exchange(group, "headers", arguments=named, internal=True), slotless}),
        queues=frozenset(queues),
        bindings=frozenset({*slots, Binding(slotless.name, "#", queues[0].name)}),
    )


def _slot(group: str, queue: Queue, number: int) -> Binding:
    match: dict[str, str] = {"x_match": "all", SLOT: str(number)}
    return Binding(group, "", queue.name, arguments(**match))
