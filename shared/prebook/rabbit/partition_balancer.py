"""Balances the partitions of message groups over the replicas of a service.

Every replica subscribes to every partition, so that a replica that dies is replaced at once. The broker makes the
first subscriber the active consumer, which after a start or a crash may be one replica for all partitions. A replica
that is active on a partition assigned to another one releases it.
Source: RabbitMQ, "Single Active Consumer"; Kafka, consumer rebalance.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from zlib import crc32

import structlog

from prebook.rabbit.consumer import RabbitConsumer

REBALANCE_INTERVAL_S = 2.0
log = structlog.get_logger()
ReadLiveReplicas = Callable[[], Awaitable[Sequence[str]]]
"""Reads the names of the live replicas, sorted."""


def assigned_replica(partition: str, partitions: Sequence[str], replicas: Sequence[str]) -> str:
    """Return the replica to serve the partition: a queue's partitions are dealt round-robin to the sorted replicas."""
    first = crc32(partitions[0].encode())
    return replicas[(first + partitions.index(partition)) % len(replicas)]


def partitions_to_release(
    active: Collection[str], group_by_partition: Mapping[str, str], replica: str, replicas: Sequence[str]
) -> list[str]:
    """Return the active partitions to release; none if ``replica`` itself is not among the live ones."""
    if replica not in replicas:
        return []
    members = {
        group: sorted(p for p, g in group_by_partition.items() if g == group)
        for group in set(group_by_partition.values())
    }
    return [
        p
        for p in sorted(active)
        if p in group_by_partition and assigned_replica(p, members[group_by_partition[p]], replicas) != replica
    ]


class PartitionBalancer:
    """Releases partitions that another live replica should serve. ``replica`` is the name of this one."""

    def __init__(
        self,
        consumer: RabbitConsumer,
        group_by_partition: Mapping[str, str],
        replica: str,
        read_live_replicas: ReadLiveReplicas,
        interval_s: float = REBALANCE_INTERVAL_S,
    ) -> None:
        self._consumer = consumer
        self._group_by_partition = group_by_partition
        self._replica = replica
        self._read_live_replicas = read_live_replicas
        self._interval_s = interval_s

    async def run(self) -> None:
        """Release partitions until cancelled; a service without partitions only waits."""
        while self._group_by_partition:
            await asyncio.sleep(self._interval_s)
            active = self._consumer.collect_active()
            for partition in partitions_to_release(
                active, self._group_by_partition, self._replica, await self._read_live_replicas()
            ):
                log.info("partition released", partition=partition)
                await self._consumer.release(partition)
        await asyncio.Event().wait()
