"""Autoscaling: the queues whose length counts, and the replicas that a service may have."""

import re
from collections.abc import Sequence

from prebook.kubernetes.cluster import SURGE
from prebook.kubernetes.suite_model import SuiteModel
from prebook.messaging.policy import Policies
from prebook.postgres.engine import CONNECTIONS_PER_PROCESS
from prebook.topology.consumed_queues import ConsumedQueue, consumed_queues_of

PREFETCHES_PER_REPLICA = 2
SERVICE_RATE_PER_S = 800
"""Messages that one replica handles per second at its best."""
BACKLOG_S = 0.25
"""Work, in seconds of one replica, that calls for another."""


def messages_per_replica(policies: Policies) -> int:
    """Return the length of a queue that calls for another replica.

    It is more than a replica has in hand when all is well, and a quarter of a second's work when not.
    """
    max_prefetch = max(policy.prefetch for policy in policies.values())
    return max(PREFETCHES_PER_REPLICA * max_prefetch, round(SERVICE_RATE_PER_S * BACKLOG_S))


def scaled_queues(service: str, policies: Policies) -> Sequence[ConsumedQueue]:
    """Return the queues that a service consumes, a message group as one."""
    return tuple(consumed_queues_of(service, policies))


def queue_pattern(queue: ConsumedQueue) -> str:
    """Return the name of a queue, or a regular expression for all partitions of a message group."""
    return rf"^{re.escape(queue.address)}\.[0-9]+$" if queue.partitions else queue.address


def max_useful_replicas(service: str, policies: Policies) -> int | None:
    """Return the number of partitions if a service consumes nothing else, or None.

    Each partition has one active consumer, so that a further replica would have no work.
    """
    queues = scaled_queues(service, policies)
    if not queues or not all(queue.partitions for queue in queues):
        return None
    return max(queue.partitions for queue in queues)


def role_connections(model: SuiteModel) -> int:
    """Return the database connections that the largest service needs during a roll-out."""
    return (max(size.max_replicas for size in model.cluster.services.values()) + SURGE) * CONNECTIONS_PER_PROCESS
