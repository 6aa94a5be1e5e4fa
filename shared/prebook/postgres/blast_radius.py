"""What a failure holds up, and what it does not: the keys that are held, beside the others of their partition."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from prebook.patterns.message_groups import partition_of

if TYPE_CHECKING:
    import asyncpg

LATELY_S = 300
KEYS = """
    SELECT DISTINCT ON (order_key) order_key, standing, why, message_id, wire::json -> 'h' ->> 'prebook-flow' AS flow,
        count(*) OVER key - 1 AS behind, min(held_at) OVER key AS since
    FROM {service}.held WHERE group_name = $1 WINDOW key AS (PARTITION BY order_key) ORDER BY order_key, seq"""
NEIGHBOURS = """
    SELECT DISTINCT conversation FROM {service}.inbox
    WHERE flow = $1 AND received_at > now() - make_interval(secs => $2)"""
RELEASE = "DELETE FROM {service}.held WHERE group_name = $1 AND order_key = $2 AND standing = 'parked'"


class HeldKey(msgspec.Struct, frozen=True, kw_only=True):
    """``standing`` is that of its first message. ``behind``: messages that wait for it.

    ``went_on``: other keys of the partition that had something handled in the last five minutes, and are not held.
    """

    service: str
    group: str
    partition: int
    key: str
    standing: str
    message_id: str
    why: str
    since: datetime
    behind: int
    went_on: int


class Blast:
    """One group of one service, read by the database's administrator."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", service: str, group: str, count: int) -> None:
        self._connection, self._service, self._group, self._count = connection, service, group, count

    async def keys(self) -> list[HeldKey]:
        """The longest held first."""
        rows = await self._connection.fetch(KEYS.format(service=self._service), self._group)
        held = {row["order_key"] for row in rows}
        others = {flow: await self._neighbours(flow) - held for flow in {row["flow"] for row in rows}}
        found = (self._key(row, [k for k in others[row["flow"]] if self._beside(k, row["order_key"])]) for row in rows)
        return sorted(found, key=lambda one: one.since)

    async def release(self, key: str) -> int:
        """How many parked messages the key waits for no more; what is parked stays there."""
        done = await self._connection.execute(RELEASE.format(service=self._service), self._group, key)
        return int(done.rpartition(" ")[2])

    def _key(self, row: "asyncpg.Record", neighbours: Sequence[str]) -> HeldKey:
        return HeldKey(
            service=self._service,
            group=self._group,
            partition=partition_of(row["order_key"], self._count),
            key=row["order_key"],
            standing=row["standing"],
            message_id=row["message_id"],
            why=row["why"],
            since=row["since"],
            behind=row["behind"],
            went_on=len(neighbours),
        )

    def _beside(self, one: str, other: str) -> bool:
        return partition_of(one, self._count) == partition_of(other, self._count)

    async def _neighbours(self, flow: str) -> set[str]:
        rows = await self._connection.fetch(NEIGHBOURS.format(service=self._service), flow, LATELY_S)
        return {row["conversation"] for row in rows}
