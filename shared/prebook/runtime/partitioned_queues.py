"""Partitioned queues of one service: per-key sequencing, rebalancing between replicas, purging and gauges."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.coupling.ports import Publisher
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.key_sequencer import KeySequencer
from prebook.postgres.blocked_keys import PURGE_PARKED, SqlBlockedKeys
from prebook.postgres.purge import PurgeRule
from prebook.postgres.replicas import read_live_replicas
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.rabbit.partition_balancer import PartitionBalancer
from prebook.runtime.gauges import BlockedMessageGauges
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.topology.consumed_queues import group_by_partition


class PartitionedQueues:
    """Does nothing for a service without partitioned queues."""

    def __init__(
        self, service: str, engine: AsyncEngine, receive: MessageHandler, publisher: Publisher, policies: Policies
    ) -> None:
        self._service = service
        self._engine = engine
        self._receive = receive
        self._publisher = publisher
        self._policies = policies
        self._partitions = group_by_partition(service, policies)
        self._blocked_keys = SqlBlockedKeys(engine)
        self._gauges = BlockedMessageGauges()

    def create_sequencer(self, observer: MessagingObserver) -> KeySequencer | None:
        """Return the sequencer of the service's ordering keys, or None if no queue is partitioned."""
        if not self._partitions:
            return None
        return KeySequencer(
            self._partitions,
            self._blocked_keys,
            self._receive,
            dead_letter=DeadLetterPublisher(self._publisher, observer).dead_letter_blocked,
            policies=self._policies,
            observer=observer,
        )

    def loops(
        self, sequencer: KeySequencer | None, consumer: RabbitConsumer, replica: str
    ) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        """Background loops by name. ``replica`` names a database session that lives as long as this process."""
        if sequencer is None:
            return {}
        balancer = PartitionBalancer(consumer, self._partitions, replica, self._live_replicas)
        return {"key_sequencer": sequencer.run, "partition_balancer": balancer.run}

    @property
    def purges(self) -> Sequence[PurgeRule]:
        """Purge rules of the blocked keys."""
        return (PurgeRule(PURGE_PARKED, INBOX_DEDUP_S),) if self._partitions else ()

    async def refresh_gauges(self) -> None:
        """Set the gauges of blocked messages to their present values."""
        if self._partitions:
            self._gauges.refresh(await self._blocked_keys.count_blocked())

    async def _live_replicas(self) -> Sequence[str]:
        return await read_live_replicas(self._engine, f"prebook-{self._service} relay ")
