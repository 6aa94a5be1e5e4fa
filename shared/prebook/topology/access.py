"""Who may do what at the broker: the least that the model's grants and consumers need."""

from collections.abc import Iterable
from dataclasses import dataclass

from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.topology.retry_and_dead_letter import exactly
from prebook.topology.values import ANY_KEY, Topology

NOTHING, ANYTHING = exactly(), ".*"
ACCOUNTS = (*PROCESSES, addresses.ARCHIVIST)
"""All that have a user at the broker, and so need a password."""


@dataclass(frozen=True, order=True)
class Permission:
    """Regular expressions over exchanges and queues. Services declare nothing: that is the deploy's job."""

    user: str
    write: str
    read: str
    configure: str = NOTHING


@dataclass(frozen=True, order=True)
class TopicPermission:
    """Regular expressions over routing keys of one exchange."""

    user: str
    exchange: str
    write: str
    read: str = NOTHING


def services(topology: Topology) -> tuple[str, ...]:
    """Every service that publishes or consumes, and who reads a stream."""
    consumers = {queue.consumer for queue in topology.consumed()}
    return tuple(sorted({g.service for g in topology.grants} | consumers | {r.account for r in topology.readers}))


def permissions(topology: Topology) -> frozenset[Permission]:
    return frozenset(
        Permission(
            addresses.user(service),
            write=exactly(*_exchanges(topology, service)),
            read=exactly(*_queues(topology, service)),
        )
        for service in services(topology)
    )


def topic_permissions(topology: Topology) -> frozenset[TopicPermission]:
    """One for every exchange that a service may write to: where there is none, the broker allows every key."""
    return frozenset(
        TopicPermission(addresses.user(service), exchange, _pattern(_keys(topology, service, exchange)))
        for service in services(topology)
        for exchange in _exchanges(topology, service)
    )


def _queues(topology: Topology, service: str) -> Iterable[str]:
    taken = (queue.name for queue in topology.consumed() if queue.consumer == service)
    return {*taken, *(reader.queue for reader in topology.readers if reader.account == service)}


def _pattern(keys: Iterable[str]) -> str:
    return ANYTHING if ANY_KEY in keys else exactly(*keys)


def _exchanges(topology: Topology, service: str) -> Iterable[str]:
    return {grant.exchange for grant in topology.grants if grant.service == service}


def _keys(topology: Topology, service: str, exchange: str) -> frozenset[str]:
    return frozenset(g.key for g in topology.grants if (g.service, g.exchange) == (service, exchange))
