"""What is read off a process when somebody asks for its metrics."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.gate import Gate
from prebook.postgres.engine import pool_timeouts
from prebook.postgres.outbox import SqlOutbox
from prebook.runtime.telemetry import Metrics


class Gauges:
    def __init__(self, metrics: Metrics, outbox: SqlOutbox, engine: AsyncEngine, gates: Mapping[str, Gate]) -> None:
        self._metrics, self._outbox, self._engine, self._gates = metrics, outbox, engine, gates
        self._timeouts = 0

    async def read(self) -> None:
        """Bring them up to date."""
        for queue, gate in self._gates.items():
            self._metrics.gate_probing.labels(queue).set(gate.shut)
            self._metrics.gate_held.labels(queue).set(gate.held)
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
