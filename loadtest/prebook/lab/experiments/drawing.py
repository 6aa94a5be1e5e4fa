"""Arrows of experiments for the diagrams of the topology model."""

from prebook.topology.values import Arrow, Leg, Topology


def message_path(arrangement: str, source: str, exchange: str, queue: str, consumer: str) -> Topology:
    """Return the arrows of messages from a service through an exchange and a queue to a consumer; all are pushed."""
    stops = (source, exchange, queue, consumer)
    return Topology(
        arrows=frozenset(
            Arrow(arrangement, Leg.EVENT, hop, stops[hop], stops[hop + 1], "", pulled=False)
            for hop in range(len(stops) - 1)
        )
    )
