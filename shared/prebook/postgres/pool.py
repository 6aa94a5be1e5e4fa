"""SQLAlchemy's pool, and two things more: it counts waits in vain, and gives out what lies in it without a greenlet."""

from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection


class Pool(AsyncAdaptedQueuePool):
    timeouts = 0
    """How often somebody waited for a connection in vain: the sign of a pool that is too small, or leaks."""

    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except PoolTimeout:
            self.timeouts += 1
            raise

    def idle(self) -> PoolProxiedConnection | None:
        """An open connection that nobody has. None where one has to be opened, replaced or waited for: that needs a
        greenlet, as nothing here does.
        """
        if not self.checkedin():
            return None
        record: Any = self._pool.get_nowait()
        self._pool.put_nowait(record)  # the last in is the first out
        is_open = record.dbapi_connection is not None and self._invalidate_time <= record.starttime
        return self.connect() if is_open else None


def pool_timeouts(engine: AsyncEngine) -> int:
    return engine.pool.timeouts if isinstance(engine.pool, Pool) else 0
