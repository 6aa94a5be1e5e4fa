"""Topology of a pipe that pulls events from a queue of its own, and the arrows of its diagram.

The queue exists only while the pipe is set up, so that a suite without it has no further queue, account or message.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from prebook.flows import EventType
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.envelope import MessageKind
from prebook.patterns.pipe import Pipe, PipeStage
from prebook.topology.archive import archive_topology
from prebook.topology.retry_and_dead_letter import with_retry_and_parking
from prebook.topology.values import Arrow, Binding, Exchange, Leg, MessageGrant, Queue, Topology


def pipe_topology(pipe: Pipe, event_type: EventType[Any], account: str) -> Topology:
    """Return the queue of the pipe, bound to the events, with its parking, and the permissions of ``account``.

    Archive replays may publish to the queue, so that a parked event can be sent again.
    """
    key = addresses.event_routing_key(event_type.name)
    queue = QueueName(pipe.source)
    event = MessageGrant(queue, event_type.publisher, addresses.EVENTS, key, MessageKind.EVENT, event_type.name)
    base = Topology(
        exchanges=frozenset({Exchange(addresses.EVENTS)}),
        queues=frozenset({Queue(queue, consumer=account)}),
        bindings=frozenset({Binding(addresses.EVENTS, key, queue)}),
        message_grants=frozenset({event}),
        arrows=frozenset(_arrows(pipe, event_type, key)),
    )
    return with_retry_and_parking(base, ()) | archive_topology(base)


def _arrows(pipe: Pipe, event_type: EventType[Any], key: str) -> Iterable[Arrow]:
    published = pairwise((event_type.publisher, addresses.EVENTS, pipe.source))
    labels = (key, "", *map(describe_knobs, pipe.stages), "")
    for hop, (source, target) in enumerate((*published, *pipe.hops())):
        yield Arrow(pipe.name, Leg.EVENT, hop, source, target, labels[hop], source == pipe.source)


def describe_knobs(stage: PipeStage) -> str:
    """Return the batch size, parallelism and rate of a stage for people, as in ``2 x 10 at a time, 50/s at most``."""
    held = f"{stage.parallelism} x {stage.batch_size} at a time"
    return f"{held}, {stage.rate_per_s:g}/s at most" if stage.rate_per_s else held
