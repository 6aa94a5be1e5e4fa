"""What is read off a process when somebody asks for its metrics."""

from collections.abc import Callable, Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.flows import CATALOGUE
from prebook.messaging.channel import Channels
from prebook.messaging.recoverability.consumer_circuit import Gate
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.pool import pool_timeouts
from prebook.runtime.telemetry import Metrics

Circuits = Callable[[], Mapping[str, bool]]
"""Service -> whether it is not to be called now."""


def circuits(caller: str, channels: Channels) -> Circuits:
    providers = sorted({flow.provider for flow in CATALOGUE if flow.caller == caller})

    def told() -> dict[str, bool]:
        return {p: any(channel.retry_after_s(p) is not None for channel in channels.values()) for p in providers}

    return told


class Gauges:
    def __init__(
        self, metrics: Metrics, outbox: SqlOutbox, engine: AsyncEngine, gates: Mapping[str, Gate], circuits: Circuits
    ) -> None:
        self._metrics, self._outbox, self._engine, self._gates = metrics, outbox, engine, gates
        self._circuits, self._timeouts = circuits, 0

    async def read(self) -> None:
        """Bring them up to date."""
        for queue, gate in self._gates.items():
            self._metrics.gate_probing.labels(queue).set(gate.shut)
            self._metrics.gate_held.labels(queue).set(gate.held)
        for provider, is_open in self._circuits().items():
            self._metrics.circuit_open.labels(provider).set(is_open)
        timeouts = pool_timeouts(self._engine)
        self._metrics.pool_timeouts.inc(timeouts - self._timeouts)
        self._timeouts = timeouts
        await self._outbox_rows()

    async def _outbox_rows(self) -> None:
        depth = await self._outbox.depth()
        self._metrics.outbox_waiting.set(depth.waiting)
        self._metrics.outbox_oldest_s.set(depth.oldest_s)
        self._metrics.outbox_given_up.clear()
        for (state, cause), rows in depth.given_up.items():
            self._metrics.outbox_given_up.labels(state, cause).set(rows)
