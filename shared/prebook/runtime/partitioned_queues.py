"""A service's message groups: what keeps their order, what shares them out, and what is told about them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.coupling.ports import Publisher
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.key_sequencer import Door, Ordering
from prebook.postgres.blocked_keys import FORGOTTEN, SqlHolds
from prebook.postgres.purge import Purge
from prebook.postgres.replicas import roster
from prebook.rabbit.consumed_queues import groups_of
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.dead_letter_publisher import Aside
from prebook.rabbit.partition_balancer import Balance
from prebook.runtime.retention import KEEP_INBOX_S
from prebook.runtime.telemetry import Metrics, Telemetry


class InOrder:
    """Nothing at all for a service that has no groups."""

    def __init__(self, service: str, engine: AsyncEngine, door: Door, publisher: Publisher, policies: Policies) -> None:
        self._service, self._engine, self._door, self._publisher = service, engine, door, publisher
        self._policies, self._groups, self._holds = policies, groups_of(service, policies), SqlHolds(engine)

    def ordering(self, watch: Telemetry) -> Ordering | None:
        if not self._groups:
            return None
        return Ordering(
            self._groups,
            self._holds,
            self._door,
            aside=Aside(self._publisher, watch).park_held,
            policies=self._policies,
            watch=watch,
        )

    def loops(
        self, order: Ordering | None, consumer: RabbitConsumer, me: str
    ) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        """``me`` is the name of a session that lives as long as this process."""
        if order is None:
            return {}
        balance = Balance(consumer, self._groups, me, self._replicas)
        return {"order": order.run, "balance": balance.run}

    @property
    def purges(self) -> Sequence[Purge]:
        return (Purge(FORGOTTEN, KEEP_INBOX_S),) if self._groups else ()

    async def read(self, metrics: Metrics) -> None:
        """Bring the gauges up to date."""
        if not self._groups:
            return
        for gauge in (metrics.held_messages, metrics.held_keys, metrics.held_oldest_s):
            gauge.clear()
        for group, standing, messages, keys, oldest_s in await self._holds.extent():
            metrics.held_messages.labels(group, standing).set(messages)
            metrics.held_keys.labels(group, standing).set(keys)
            metrics.held_oldest_s.labels(group, standing).set(oldest_s)

    async def _replicas(self) -> Sequence[str]:
        return await roster(self._engine, f"prebook-{self._service} relay ")
