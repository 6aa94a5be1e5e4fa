"""Blast radius of a failure: the messages that wait behind a blocked key, with the number of unaffected keys in the
partition.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from prebook.messaging.headers import FLOW_HEADER
from prebook.messaging.recoverability.blocked_keys import BlockStatus
from prebook.patterns.message_groups import partition_of
from prebook.postgres.state_literals import with_states

if TYPE_CHECKING:
    import asyncpg

RECENT_WINDOW_S = 300
"""A key that had a message handled within this time is not affected by the blocked ones."""
BLOCKED_KEYS = """
    SELECT DISTINCT ON (ordering_key) ordering_key, status, error, message_id,
        message::json -> 'headers' ->> '{flow_header}' AS flow,
        count(*) OVER key - 1 AS waiting_messages, min(blocked_at) OVER key AS blocked_since
    FROM {service}.blocked WHERE group_name = $1 WINDOW key AS (PARTITION BY ordering_key) ORDER BY ordering_key, seq"""
RECENTLY_HANDLED_KEYS = """
    SELECT DISTINCT conversation_id FROM {service}.inbox
    WHERE flow = $1 AND received_at > now() - make_interval(secs => $2)"""
COUNT_PARKED = with_states(
    "SELECT count(*) FROM {service}.blocked WHERE group_name = $1 AND ordering_key = $2 AND status = {PARKED}",
    BlockStatus,
)
UNBLOCK = with_states(
    "DELETE FROM {service}.blocked WHERE group_name = $1 AND ordering_key = $2 AND status = {PARKED}", BlockStatus
)


class BlockedKey(msgspec.Struct, frozen=True, kw_only=True):
    """An ordering key that is blocked by its first message, whose ``status``, ``message_id`` and ``error`` it has.

    ``waiting_messages``: later messages of the key. ``unaffected_keys``: other keys of the partition that are not
    blocked and had a message handled in the last five minutes.
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
    """One partitioned queue of one service, read by the database's administrator."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", service: str, group: str, partitions: int
    ) -> None:
        self._connection = connection
        self._service = service
        self._group = group
        self._partitions = partitions

    async def list_blocked_keys(self) -> list[BlockedKey]:
        """Return the blocked keys, the longest blocked first."""
        rows = await self._connection.fetch(
            BLOCKED_KEYS.format(service=self._service, flow_header=FLOW_HEADER), self._group
        )
        blocked = {row["ordering_key"] for row in rows}
        others = {flow: await self._recently_handled_keys(flow) - blocked for flow in {row["flow"] for row in rows}}
        keys = (
            self._blocked_key(row, [k for k in others[row["flow"]] if self._same_partition(k, row["ordering_key"])])
            for row in rows
        )
        return sorted(keys, key=lambda key: key.blocked_since)

    async def count_parked(self, key: str) -> int:
        """Return the number of parked messages for which the key waits."""
        found = await self._connection.fetchval(COUNT_PARKED.format(service=self._service), self._group, key)
        return int(found)

    async def unblock(self, key: str) -> int:
        """Let the key's waiting messages proceed without its parked ones; return the number of parked ones.

        The dead letters stay parked.
        """
        command_tag = await self._connection.execute(UNBLOCK.format(service=self._service), self._group, key)
        return int(command_tag.rpartition(" ")[2])

    def _blocked_key(self, row: "asyncpg.Record", unaffected: Sequence[str]) -> BlockedKey:
        return BlockedKey(
            service=self._service,
            group=self._group,
            partition=partition_of(row["ordering_key"], self._partitions),
            key=row["ordering_key"],
            status=row["status"],
            message_id=row["message_id"],
            error=row["error"],
            blocked_since=row["blocked_since"],
            waiting_messages=row["waiting_messages"],
            unaffected_keys=len(unaffected),
        )

    def _same_partition(self, key: str, other_key: str) -> bool:
        return partition_of(key, self._partitions) == partition_of(other_key, self._partitions)

    async def _recently_handled_keys(self, flow: str) -> set[str]:
        rows = await self._connection.fetch(RECENTLY_HANDLED_KEYS.format(service=self._service), flow, RECENT_WINDOW_S)
        return {row["conversation_id"] for row in rows}
