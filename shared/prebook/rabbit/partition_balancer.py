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

LOOK_EVERY_S = 2.0
log = structlog.get_logger()
Roster = Callable[[], Awaitable[Sequence[str]]]


def owner(partition: str, partitions: Sequence[str], replicas: Sequence[str]) -> str:
    """Who is meant to be active there: the partitions of a group go round the replicas, both being sorted."""
    first = crc32(partitions[0].encode())
    return replicas[(first + partitions.index(partition)) % len(replicas)]


def misplaced(active: Collection[str], groups: Mapping[str, str], me: str, replicas: Sequence[str]) -> list[str]:
    """Partitions to cede; none where we are not on the roster ourselves."""
    if me not in replicas:
        return []
    members = {group: sorted(p for p, g in groups.items() if g == group) for group in set(groups.values())}
    return [p for p in sorted(active) if p in groups and owner(p, members[groups[p]], replicas) != me]


class Balance:
    """``me`` is our name on the roster."""

    def __init__(
        self,
        consumer: RabbitConsumer,
        groups: Mapping[str, str],
        me: str,
        roster: Roster,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._consumer, self._groups, self._me = consumer, groups, me
        self._roster, self._every_s = roster, every_s

    async def run(self) -> None:
        while self._groups:
            await asyncio.sleep(self._every_s)
            active = self._consumer.lately_active()
            for partition in misplaced(active, self._groups, self._me, await self._roster()):
                log.info("ceded", partition=partition)
                await self._consumer.cede(partition)
        await asyncio.Event().wait()
