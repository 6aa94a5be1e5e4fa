"""What a failure holds up, and what it does not: the keys that are held, beside the others of their partition."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from prebook.patterns.message_groups import partition_of

if TYPE_CHECKING:
    import asyncpg

RECENT_WINDOW_S = 300
BLOCKED_KEYS = """
    SELECT DISTINCT ON (order_key) order_key, standing, why, message_id, wire::json -> 'h' ->> 'prebook-flow' AS flow,
        count(*) OVER key - 1 AS behind, min(held_at) OVER key AS since
    FROM {service}.held WHERE group_name = $1 WINDOW key AS (PARTITION BY order_key) ORDER BY order_key, seq"""
RECENTLY_HANDLED_KEYS = """
    SELECT DISTINCT conversation FROM {service}.inbox
    WHERE flow = $1 AND received_at > now() - make_interval(secs => $2)"""
UNBLOCK = "DELETE FROM {service}.held WHERE group_name = $1 AND order_key = $2 AND standing = 'parked'"


class BlockedKey(msgspec.Struct, frozen=True, kw_only=True):
    """``standing`` is that of its first message. ``behind``: messages that wait for it.

    ``went_on``: other keys of the partition that had something handled in the last five minutes, and are not held.
    """

    service: str
    group: str
    partition: int
    key: str
    status: str
    message_id: str
    error: str
    blocked_since: datetime
    waiting_messages: int
    unaffected_keys: int


class BlastRadius:
    """One group of one service, read by the database's administrator."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", service: str, group: str, partitions: int
    ) -> None:
        self._connection, self._service, self._group, self._partitions = connection, service, group, partitions

    async def list_blocked_keys(self) -> list[BlockedKey]:
        """The longest held first."""
        rows = await self._connection.fetch(BLOCKED_KEYS.format(service=self._service), self._group)
        held = {row["order_key"] for row in rows}
        others = {flow: await self._recently_handled_keys(flow) - held for flow in {row["flow"] for row in rows}}
        found = (
            self._blocked_key(row, [k for k in others[row["flow"]] if self._same_partition(k, row["order_key"])])
            for row in rows
        )
        return sorted(found, key=lambda one: one.blocked_since)

    async def unblock(self, key: str) -> int:
        """How many parked messages the key waits for no more; what is parked stays there."""
        done = await self._connection.execute(UNBLOCK.format(service=self._service), self._group, key)
        return int(done.rpartition(" ")[2])

    def _blocked_key(self, row: "asyncpg.Record", unaffected: Sequence[str]) -> BlockedKey:
        return BlockedKey(
            service=self._service,
            group=self._group,
            partition=partition_of(row["order_key"], self._partitions),
            key=row["order_key"],
            status=row["standing"],
            message_id=row["message_id"],
            error=row["why"],
            blocked_since=row["since"],
            waiting_messages=row["behind"],
            unaffected_keys=len(unaffected),
        )

    def _same_partition(self, key: str, other_key: str) -> bool:
        return partition_of(key, self._partitions) == partition_of(other_key, self._partitions)

    async def _recently_handled_keys(self, flow: str) -> set[str]:
        rows = await self._connection.fetch(RECENTLY_HANDLED_KEYS.format(service=self._service), flow, RECENT_WINDOW_S)
        return {row["conversation"] for row in rows}
