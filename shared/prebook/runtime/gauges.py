"""Metrics of one process. Its gauges are refreshed whenever they are scraped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.flows import ALL_FLOWS
from prebook.messaging.channel import Channels
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.pool import pool_timeouts

REFRESH_TIMEOUT_S = 5.0
"""Half of the time that Prometheus gives a scrape by default; a statement may wait for 17 s."""
GaugeRefresh = Callable[[], Awaitable[object]]
"""Sets gauges to their present values, for which it may read the database."""
ProviderCircuits = Callable[[], Mapping[str, bool]]
"""Returns, by provider, whether calls to it are suspended."""


def provider_circuit_states(caller: str, channels: Channels) -> ProviderCircuits:
    """Return a function that reads the circuit breakers of every provider that ``caller`` calls."""
    providers = sorted({flow.provider for flow in ALL_FLOWS if flow.caller == caller})

    def states() -> dict[str, bool]:
        return {p: any(channel.retry_after_s(p) is not None for channel in channels.values()) for p in providers}

    return states


class ProcessMetrics:
    """Metrics of outbox, circuits, HTTP client, connection pool and event loop."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"prebook_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"prebook_{name}", text, labels, registry=registry)

        self.outbox_waiting = gauge("outbox_waiting", "Outbox rows waiting to be sent.")
        self.outbox_oldest_age_s = gauge(
            "outbox_oldest_age_seconds", "Age in seconds of the oldest outbox row waiting to be sent."
        )
        self.outbox_abandoned = gauge(
            "outbox_abandoned",
            "Outbox rows that the relay no longer sends, by final state and cause.",
            "state",
            "cause",
        )
        self.consumer_circuit_open = gauge(
            "consumer_circuit_open",
            "1 while the queue's consumer circuit is open and only single probe messages are handled, else 0.",
            "queue",
        )
        self.consumer_paused_messages = gauge(
            "consumer_paused_messages",
            "Unacknowledged messages paused while the queue's consumer circuit is open.",
            "queue",
        )
        self.http_client_requests = counter(
            "http_client_requests", "HTTP requests sent to another service, retries included.", "provider"
        )
        self.http_calls_refused = counter(
            "http_calls_refused",
            "HTTP calls to internal endpoints that were refused because of their signature or caller.",
            "reason",
        )
        self.http_refused = counter(
            "http_refused",
            "HTTP requests and connections refused before they reached a route, and resources that ran out, by code.",
            "code",
        )
        self.provider_circuit_open = gauge(
            "provider_circuit_open",
            "1 while calls to the provider are suspended by its circuit breaker, else 0.",
            "provider",
        )
        self.gauges_stale = gauge(
            "gauges_stale",
            "1 if this scrape could not read the database, so that gauges of rows have their last values, else 0.",
        )
        self.db_pool_timeouts = counter(
            "db_pool_timeouts", "Timeouts while waiting for a database connection from the pool."
        )
        self.loop_lag_s = gauge(
            "event_loop_lag_seconds", "Delay in seconds of a timer on the event loop, measured every 0.5 s."
        )


class BlockedMessageGauges:
    """Gauges of the messages and keys that wait in order, by partitioned queue and status."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"prebook_blocked_{name}", text, ("queue", "status"), registry=registry)

        self._messages = gauge(
            "messages", "Messages blocked to keep the order of their key, by partitioned queue and status."
        )
        self._keys = gauge("keys", "Ordering keys with at least one blocked message, by partitioned queue and status.")
        self._oldest_age_s = gauge(
            "oldest_age_seconds",
            "Age in seconds of the oldest message blocked behind a failed message with its ordering key.",
        )

    def refresh(self, counts: Iterable[tuple[str, str, int, int, float]]) -> None:
        """Set the gauges to ``counts``: queue, status, messages, keys and age of the oldest, in seconds."""
        for gauge in (self._messages, self._keys, self._oldest_age_s):
            gauge.clear()
        for queue, status, messages, keys, oldest_age_s in counts:
            self._messages.labels(queue, status).set(messages)
            self._keys.labels(queue, status).set(keys)
            self._oldest_age_s.labels(queue, status).set(oldest_age_s)


class ProcessGauges:
    """Gauges of circuits, connection pool and outbox."""

    def __init__(
        self,
        metrics: ProcessMetrics,
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


async def refresh_all(refreshes: Iterable[GaugeRefresh], stale: Gauge) -> None:
    """Refresh gauges before a scrape, which is answered even if the database is away: then it is needed most.

    ``stale`` is set to whether a refresh failed or took too long.
    """
    is_stale = False
    try:
        async with asyncio.timeout(REFRESH_TIMEOUT_S):
            for refresh in refreshes:
                try:
                    await refresh()
                except Unreachable:
                    is_stale = True
    except TimeoutError:
        is_stale = True
    stale.set(is_stale)
