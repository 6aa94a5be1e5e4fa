"""Who may do what at the broker: the least that the model's grants and consumers need."""

from collections.abc import Iterable
from dataclasses import dataclass

from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.topology.retry_and_dead_letter import exact_match
from prebook.topology.values import ANY_ROUTING_KEY, Topology

MATCH_NONE, MATCH_ANY = exact_match(), ".*"
ACCOUNTS = (*PROCESSES, addresses.ARCHIVE_READER)
"""All that have a user at the broker, and so need a password."""


@dataclass(frozen=True, order=True)
class Permission:
    """Regular expressions over exchanges and queues. Services declare nothing: that is the deploy's job."""

    user: str
    write: str
    read: str
    configure: str = MATCH_NONE


@dataclass(frozen=True, order=True)
class TopicPermission:
    """Regular expressions over routing keys of one exchange."""

    user: str
    exchange: str
    write: str
    read: str = MATCH_NONE


def broker_accounts(topology: Topology) -> tuple[str, ...]:
    """Every service that publishes or consumes, and who reads a stream."""
    consumers = {queue.consumer for queue in topology.consumed_queues()}
    return tuple(sorted({g.account for g in topology.grants} | consumers | {r.account for r in topology.read_grants}))


def permissions(topology: Topology) -> frozenset[Permission]:
    return frozenset(
        Permission(
            addresses.broker_user(account),
            write=exact_match(*_writable_exchanges(topology, account)),
            read=exact_match(*_readable_queues(topology, account)),
        )
        for account in broker_accounts(topology)
    )


def topic_permissions(topology: Topology) -> frozenset[TopicPermission]:
    """One for every exchange that a service may write to: where there is none, the broker allows every key."""
    return frozenset(
        TopicPermission(
            addresses.broker_user(account), exchange, _topic_pattern(_routing_keys(topology, account, exchange))
        )
        for account in broker_accounts(topology)
        for exchange in _writable_exchanges(topology, account)
    )


def _readable_queues(topology: Topology, account: str) -> Iterable[str]:
    consumed = (queue.name for queue in topology.consumed_queues() if queue.consumer == account)
    return {*consumed, *(reader.queue for reader in topology.read_grants if reader.account == account)}


def _topic_pattern(keys: Iterable[str]) -> str:
    return MATCH_ANY if ANY_ROUTING_KEY in keys else exact_match(*keys)


def _writable_exchanges(topology: Topology, account: str) -> Iterable[str]:
    return {grant.exchange for grant in topology.grants if grant.account == account}


def _routing_keys(topology: Topology, account: str, exchange: str) -> frozenset[str]:
    return frozenset(g.routing_key for g in topology.grants if (g.account, g.exchange) == (account, exchange))
