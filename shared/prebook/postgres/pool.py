"""SQLAlchemy's pool, and three things more: it counts waits in vain, gives out what lies in it without a greenlet, and
has the limit of whoever waits for an answer on one of its connections.
"""

from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from prebook.messaging.asyncio_tools import CoarseTimeout

COMMAND_TIMEOUT_S = 17.0
"""The server ends a statement after 15 s: from one that says nothing for longer, nothing is to be heard."""


class Pool(AsyncAdaptedQueuePool):
    timeouts = 0
    """How often somebody waited for a connection in vain: the sign of a pool that is too small, or leaks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command_timeout = CoarseTimeout(COMMAND_TIMEOUT_S)

    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except PoolTimeout:
            self.timeouts += 1
            raise

    def checkout_idle(self) -> PoolProxiedConnection | None:
        """An open connection that nobody has. None where one has to be opened, replaced or waited for: that needs a
        greenlet, as nothing here does.
        """
        if not self.checkedin():
            return None
        record: Any = self._pool.get_nowait()
        self._pool.put_nowait(record)  # the last in is the first out
        is_open = record.dbapi_connection is not None and self._invalidate_time <= record.starttime
        return self.connect() if is_open else None


def command_timeout_of(engine: AsyncEngine) -> CoarseTimeout:
    pool: Any = engine.pool
    timeout: CoarseTimeout = pool.command_timeout
    return timeout


def checkout_idle(engine: AsyncEngine) -> PoolProxiedConnection | None:
    return engine.pool.checkout_idle() if isinstance(engine.pool, Pool) else None


async def checkout(engine: AsyncEngine) -> PoolProxiedConnection:
    """The first of an engine is asked for more than the driver limits, while all others wait. Raises TimeoutError."""
    with command_timeout_of(engine)():
        return await engine.raw_connection()


def pool_timeouts(engine: AsyncEngine) -> int:
    return engine.pool.timeouts if isinstance(engine.pool, Pool) else 0
