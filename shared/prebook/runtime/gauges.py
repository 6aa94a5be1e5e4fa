"""Gauges of one process, refreshed whenever its metrics are scraped."""

from collections.abc import Callable, Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.flows import ALL_FLOWS
from prebook.messaging.channel import Channels
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.pool import pool_timeouts
from prebook.runtime.telemetry import Metrics

ProviderCircuits = Callable[[], Mapping[str, bool]]
"""Returns, by provider, whether calls to it are suspended."""


def provider_circuit_states(caller: str, channels: Channels) -> ProviderCircuits:
    """Return a function that reads the circuit breakers of every provider that ``caller`` calls."""
    providers = sorted({flow.provider for flow in ALL_FLOWS if flow.caller == caller})

    def states() -> dict[str, bool]:
        return {p: any(channel.retry_after_s(p) is not None for channel in channels.values()) for p in providers}

    return states


class ProcessGauges:
    """Gauges of circuits, connection pool and outbox."""

    def __init__(
        self,
        metrics: Metrics,
        outbox: SqlOutbox,
        engine: AsyncEngine,
        consumer_circuits: Mapping[str, ConsumerCircuit],
        provider_circuits: ProviderCircuits,
    ) -> None:
        self._metrics = metrics
        self._outbox = outbox
        self._engine = engine
        self._consumer_circuits = consumer_circuits
        self._provider_circuits = provider_circuits
        self._counted_pool_timeouts = 0

    async def refresh(self) -> None:
        """Set every gauge to its present value."""
        for queue, circuit in self._consumer_circuits.items():
            self._metrics.consumer_circuit_open.labels(queue).set(circuit.is_open)
            self._metrics.consumer_paused_messages.labels(queue).set(circuit.paused)
        for provider, is_open in self._provider_circuits().items():
            self._metrics.provider_circuit_open.labels(provider).set(is_open)
        timeouts = pool_timeouts(self._engine)
        self._metrics.db_pool_timeouts.inc(timeouts - self._counted_pool_timeouts)
        self._counted_pool_timeouts = timeouts
        await self._refresh_outbox()

    async def _refresh_outbox(self) -> None:
        depth = await self._outbox.read_depth()
        self._metrics.outbox_waiting.set(depth.waiting)
        self._metrics.outbox_oldest_age_s.set(depth.oldest_s)
        self._metrics.outbox_abandoned.clear()
        for (state, cause), rows in depth.abandoned.items():
            self._metrics.outbox_abandoned.labels(state, cause).set(rows)
