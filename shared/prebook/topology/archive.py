"""Archive: a stream of everything published to the topic exchange, and the account that may read it.

Source: EIP, Message Store; Wire Tap.
"""

from dataclasses import replace

from prebook.messaging import addresses
from prebook.topology.retry_and_dead_letter import exact_match
from prebook.topology.values import (
    ANY_ROUTING_KEY,
    Arguments,
    Binding,
    Grant,
    Policy,
    Queue,
    ReadGrant,
    Topology,
    arguments,
)

ARCHIVE_STREAM = Queue(addresses.ARCHIVE_QUEUE, arguments(x_queue_type="stream"))
MAX_AGE = "7D"
"""Retention of the archive; RabbitMQ's notation for seven days."""
MAX_BYTES = 1_000_000_000
SEGMENT_BYTES = 50_000_000
"""Size of a stream segment; retention removes whole segments only."""


def archive_topology(base: Topology) -> Topology:
    """Bind the stream to every routing key of the topic exchange that ``base`` binds to a queue.

    Other keys stay unbound, so that publishing with them is reported as unroutable.
    """
    keys = {binding.routing_key for binding in base.bindings if binding.exchange == addresses.EVENTS}
    if not keys:
        return Topology()
    return Topology(
        queues=frozenset({ARCHIVE_STREAM}),
        bindings=frozenset(Binding(addresses.EVENTS, key, ARCHIVE_STREAM.name) for key in keys),
        policies=frozenset({Policy(ARCHIVE_STREAM.name, exact_match(ARCHIVE_STREAM.name), _retention_arguments())}),
        read_grants=frozenset({ReadGrant(addresses.ARCHIVE_READER, ARCHIVE_STREAM.name)}),
        grants=frozenset({Grant(addresses.ARCHIVE_READER, addresses.REDELIVER, ANY_ROUTING_KEY)}),
        message_grants=frozenset(
            replace(grant, account=addresses.ARCHIVE_READER, exchange=addresses.REDELIVER, routing_key=grant.queue)
            for grant in base.message_grants
            if grant.exchange == addresses.EVENTS
        ),
    )


def _retention_arguments() -> Arguments:
    return arguments(max_age=MAX_AGE, max_length_bytes=MAX_BYTES, stream_max_segment_size_bytes=SEGMENT_BYTES)
