"""SQLAlchemy's pool, extended: it counts its timeouts, checks out idle connections without a greenlet, replaces
outdated connections, and has the timeout of the statements on its connections.

``checkout_idle`` reads two private attributes of SQLAlchemy's pool, ``_pool`` and ``_invalidate_time``, because no
public one shows whether the next connection is open, and a checkout that opens one fails without a greenlet. The
public alternative is a checkout with a greenlet for each transaction. ``outdate_connections`` sets
``_invalidate_time``, because ``dispose``, the public way, replaces the pool and its counts.
``tests/architecture/test_private_attributes.py`` fails when the pinned version of SQLAlchemy changes, so that its
source is read again.
"""

import time
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from prebook.asyncio_tools import CoarseTimeout

COMMAND_TIMEOUT_S = 17.0
"""The server ends a statement after 15 s (statement_timeout); after 17 s without a reply the server is gone."""


OUTDATE_INTERVAL_S = 2.0
"""Minimum seconds between two replacements of all connections: a server that stays read-only is not flooded with new
connections."""


class WriteHealth:
    """Result of the last writes on an engine: a hint of whether the database accepts any.

    A full disk or a locked table is seen by those who write, and by no check that only reads.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        """Why the database refused the last write; None if it was accepted."""
        self._refused_at = 0.0

    def record_refusal(self, reason: str) -> None:
        """Note that the database answered and did not do its work. ``reason``: one clause without values."""
        self.refusal = reason
        self._refused_at = time.monotonic()

    def record_success(self) -> None:
        """Note that a write was committed."""
        self.refusal = None

    def recent_refusal(self, max_age_s: float) -> str | None:
        """Return why the last write was refused, if that was at most ``max_age_s`` seconds ago."""
        return self.refusal if time.monotonic() - self._refused_at <= max_age_s else None


class Pool(AsyncAdaptedQueuePool):
    """Pool of the connections of one engine."""

    timeouts = 0
    """Number of checkouts that timed out: a sign of a pool that is too small, or leaks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command_timeout = CoarseTimeout(COMMAND_TIMEOUT_S)
        self.write_health = WriteHealth()

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


def outdate_connections(engine: AsyncEngine) -> None:
    """Replace every connection that is open now at its next checkout; at most every ``OUTDATE_INTERVAL_S``.

    Their server was demoted, or their prepared statements are outdated.
    """
    pool: Any = engine.pool
    now = time.time()  # SQLAlchemy compares with the time at which a connection was opened
    if now - pool._invalidate_time >= OUTDATE_INTERVAL_S:  # noqa: SLF001 - see above
        pool._invalidate_time = now  # noqa: SLF001 - see above


def write_health_of(engine: AsyncEngine) -> WriteHealth:
    """Results of the last writes on the engine."""
    pool: Any = engine.pool
    health: WriteHealth = pool.write_health
    return health


def pool_timeouts(engine: AsyncEngine) -> int:
    """Number of waits for a connection of this engine that ended in a timeout."""
    return engine.pool.timeouts if isinstance(engine.pool, Pool) else 0
