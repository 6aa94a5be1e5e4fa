"""Shares the partitions of message groups out among the replicas of a service.

Every replica waits in the line of every partition, so that one that dies is replaced at once. A broker makes the first
in line the active one, which after a start or a death may be the same replica everywhere: who is active where another
is meant to be cedes its place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from zlib import crc32

import structlog

from prebook.rabbit.consumer import RabbitConsumer

REBALANCE_INTERVAL_S = 2.0
log = structlog.get_logger()
ReadLiveReplicas = Callable[[], Awaitable[Sequence[str]]]


def assigned_replica(partition: str, partitions: Sequence[str], replicas: Sequence[str]) -> str:
    """Who is meant to be active there: the partitions of a group go round the replicas, both being sorted."""
    first = crc32(partitions[0].encode())
    return replicas[(first + partitions.index(partition)) % len(replicas)]


def partitions_to_release(
    active: Collection[str], group_by_partition: Mapping[str, str], replica: str, replicas: Sequence[str]
) -> list[str]:
    """Partitions to cede; none where we are not on the roster ourselves."""
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
    """``me`` is our name on the roster."""

    def __init__(
        self,
        consumer: RabbitConsumer,
        group_by_partition: Mapping[str, str],
        replica: str,
        read_live_replicas: ReadLiveReplicas,
        interval_s: float = REBALANCE_INTERVAL_S,
    ) -> None:
        self._consumer, self._group_by_partition, self._replica = consumer, group_by_partition, replica
        self._read_live_replicas, self._interval_s = read_live_replicas, interval_s

    async def run(self) -> None:
        while self._group_by_partition:
            await asyncio.sleep(self._interval_s)
            active = self._consumer.collect_active()
            for partition in partitions_to_release(
                active, self._group_by_partition, self._replica, await self._read_live_replicas()
            ):
                log.info("ceded", partition=partition)
                await self._consumer.release(partition)
        await asyncio.Event().wait()
