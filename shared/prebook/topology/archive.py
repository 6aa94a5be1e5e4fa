"""The archive: a stream that keeps all that is published as an event, and the one account that may read it."""

from prebook.messaging import addresses
from prebook.topology.retry_and_dead_letter import exactly
from prebook.topology.values import ANY_KEY, Arguments, Binding, Grant, Policy, Queue, Reader, Topology, arguments

STREAM = Queue(addresses.ARCHIVE_QUEUE, arguments(x_queue_type="stream"))
MAX_AGE = "7D"
MAX_BYTES = 1_000_000_000
SEGMENT_BYTES = 50_000_000
"""Retention removes whole segments only."""


def archived(flowing: Topology) -> Topology:
    """Every key of the events' exchange that is bound to a queue already is bound to the stream too.

    A key that leads nowhere else stays unbound: publishing there is to be told as unroutable, not to vanish in here.
    """
    keys = {bound.key for bound in flowing.bindings if bound.exchange == addresses.EVENTS}
    if not keys:
        return Topology()
    return Topology(
        queues=frozenset({STREAM}),
        bindings=frozenset(Binding(addresses.EVENTS, key, STREAM.name) for key in keys),
        policies=frozenset({Policy(STREAM.name, exactly(STREAM.name), _retention())}),
        readers=frozenset({Reader(addresses.ARCHIVIST, STREAM.name)}),
        grants=frozenset({Grant(addresses.ARCHIVIST, addresses.REDELIVER, ANY_KEY)}),
    )


def _retention() -> Arguments:
    return arguments(max_age=MAX_AGE, max_length_bytes=MAX_BYTES, stream_max_segment_size_bytes=SEGMENT_BYTES)
