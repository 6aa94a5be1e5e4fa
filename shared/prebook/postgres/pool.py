"""SQLAlchemy's pool, extended: it counts its timeouts, checks out idle connections without a greenlet, and has the
timeout of the statements on its connections.

``checkout_idle`` reads two private attributes of SQLAlchemy's pool, ``_pool`` and ``_invalidate_time``, because no
public one shows whether the next connection is open, and a checkout that opens one fails without a greenlet. The
public alternative is a checkout with a greenlet for each transaction.
``tests/architecture/test_private_attributes.py`` fails when the pinned version of SQLAlchemy changes, so that its
source is read again.
"""

from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from prebook.asyncio_tools import CoarseTimeout

COMMAND_TIMEOUT_S = 17.0
"""The server ends a statement after 15 s (statement_timeout); after 17 s without a reply the server is gone."""


class Pool(AsyncAdaptedQueuePool):
    """Pool of the connections of one engine."""

    timeouts = 0
    """Number of checkouts that timed out: a sign of a pool that is too small, or leaks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command_timeout = CoarseTimeout(COMMAND_TIMEOUT_S)

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out. Raises sqlalchemy.exc.TimeoutError, and counts it."""
        try:
            return super().connect()
        except PoolTimeout:
            self.timeouts += 1
            raise

    def checkout_idle(self) -> PoolProxiedConnection | None:
        """Return an open connection that is not in use.

        None if one has to be opened, replaced or waited for, which needs a greenlet; this method does not.
        """
        if not self.checkedin():
            return None
        record: Any = self._pool.get_nowait()
        self._pool.put_nowait(record)  # the last in is the first out
        is_open = record.dbapi_connection is not None and self._invalidate_time <= record.starttime
        return self.connect() if is_open else None


def command_timeout_of(engine: AsyncEngine) -> CoarseTimeout:
    """The timeout that bounds each statement on a connection of this engine."""
    pool: Any = engine.pool
    timeout: CoarseTimeout = pool.command_timeout
    return timeout


def checkout_idle(engine: AsyncEngine) -> PoolProxiedConnection | None:
    """Check out a connection that is idle now; None if there is none, or if the engine has another kind of pool."""
    return engine.pool.checkout_idle() if isinstance(engine.pool, Pool) else None


async def checkout(engine: AsyncEngine) -> PoolProxiedConnection:
    """Check out a connection.

    The first connection of an engine runs queries that the driver does not limit, and all others wait for it.

    Raises:
        TimeoutError: no connection within the command timeout.
    """
    with command_timeout_of(engine)():
        return await engine.raw_connection()


def pool_timeouts(engine: AsyncEngine) -> int:
    """Number of waits for a connection of this engine that ended in a timeout."""
    return engine.pool.timeouts if isinstance(engine.pool, Pool) else 0
