"""The archive: a stream that keeps all that is published as an event, and the one account that may read it."""

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
MAX_BYTES = 1_000_000_000
SEGMENT_BYTES = 50_000_000
"""Retention removes whole segments only."""


def archive_topology(base: Topology) -> Topology:
    """Every key of the events' exchange that is bound to a queue already is bound to the stream too.

    A key that leads nowhere else stays unbound: publishing there is to be told as unroutable, not to vanish in here.
    """
    keys = {bound.routing_key for bound in base.bindings if bound.exchange == addresses.EVENTS}
    if not keys:
        return Topology()
    return Topology(
        queues=frozenset({ARCHIVE_STREAM}),
        bindings=frozenset(Binding(addresses.EVENTS, key, ARCHIVE_STREAM.name) for key in keys),
        policies=frozenset({Policy(ARCHIVE_STREAM.name, exact_match(ARCHIVE_STREAM.name), _retention_arguments())}),
        read_grants=frozenset({ReadGrant(addresses.ARCHIVE_READER, ARCHIVE_STREAM.name)}),
        grants=frozenset({Grant(addresses.ARCHIVE_READER, addresses.REDELIVER, ANY_ROUTING_KEY)}),
    )


def _retention_arguments() -> Arguments:
    return arguments(max_age=MAX_AGE, max_length_bytes=MAX_BYTES, stream_max_segment_size_bytes=SEGMENT_BYTES)
