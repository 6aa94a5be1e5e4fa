"""Broker permissions: the least that the grants and consumers of a topology need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.topology.retry_and_dead_letter import exact_match
from prebook.topology.values import ANY_ROUTING_KEY, Topology

MATCH_NONE = exact_match()
MATCH_ANY = ".*"
ACCOUNTS = (*PROCESSES, addresses.ARCHIVE_READER)
"""Accounts with a broker user, which need a password."""
OBSERVER_TOPOLOGY = Topology(observers=frozenset({addresses.OBSERVER}))
"""Belongs to the model of a broker whose services an autoscaler counts."""
OBSERVER_TAGS = "management"


@dataclass(frozen=True, order=True)
class Permission:
    """Permissions of a user as regular expressions over exchanges and queues. Services may declare nothing."""

    user: str
    write: str
    read: str
    configure: str = MATCH_NONE


@dataclass(frozen=True, order=True)
class TopicPermission:
    """Permissions of a user on one topic exchange, as regular expressions over routing keys."""

    user: str
    exchange: str
    write: str
    read: str = MATCH_NONE


def broker_accounts(topology: Topology) -> tuple[str, ...]:
    """Return the accounts that publish, consume, read a stream or observe the broker, sorted."""
    consumers = {queue.consumer for queue in topology.consumed_queues()}
    readers = {r.account for r in topology.read_grants}
    return tuple(sorted({g.account for g in topology.grants} | consumers | readers | topology.observers))


def user_tags(topology: Topology) -> Mapping[str, str]:
    """Return the comma-separated tags of every account's user: none, but for observers."""
    return {
        addresses.broker_user(account): OBSERVER_TAGS if account in topology.observers else ""
        for account in broker_accounts(topology)
    }


def permissions(topology: Topology) -> frozenset[Permission]:
    """Return the permissions of all accounts."""
    return frozenset(
        Permission(
            addresses.broker_user(account),
            write=exact_match(*_writable_exchanges(topology, account)),
            read=exact_match(*_readable_queues(topology, account)),
        )
        for account in broker_accounts(topology)
    )


def topic_permissions(topology: Topology) -> frozenset[TopicPermission]:
    """Return one topic permission per account and writable exchange; without one, the broker allows every key."""
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
