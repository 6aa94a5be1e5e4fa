"""Database engines of a service process, and the settings of their connections."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prebook.messaging.errors import Unreachable
from prebook.postgres.connection import NO_PARAMETERS, PooledConnection, acquire
from prebook.postgres.outages import READ_ONLY
from prebook.postgres.pool import Pool, outdate_connections, write_health_of
from prebook.postgres.pooler import GENERIC_PLANS, is_pooled, refuse_shared_server

POOL_SIZE = 8
"""A busy connection costs the server about 5 MB, and more of them make two cores no faster."""
MAX_OVERFLOW = 0
"""A connection beyond the pool is closed after use, and a new one has to look up types and plan statements first."""
EDGE_POOL_SIZE = 4
"""Its own pool: riders' requests must not take the connections that handle the messages of earlier requests."""
BACKGROUND_POOL_SIZE = 2
"""Its own pool: the load sampler must be able to measure an overload while requests wait for connections."""
CONNECTIONS_PER_PROCESS = POOL_SIZE + MAX_OVERFLOW + EDGE_POOL_SIZE + BACKGROUND_POOL_SIZE + 1
"""Maximum number of connections of one service process: its pools, and the relay's LISTEN session."""
CHECKOUT_TIMEOUT_S = 5
CHECK_TIMEOUT_S = 2
CLOSE_TIMEOUT_S = 2
PLANNER_SETTINGS = {"enable_seqscan": "off", "jit": "off", "plan_cache_mode": GENERIC_PLANS}
"""Every statement is planned once for each connection and uses an index, whatever its values: a plan that is made while
a table is small must still be right when the table has grown."""
ASYNCHRONOUS_COMMIT = {"synchronous_commit": "off"}
"""For lease and bookkeeping statements. They skip the WAL flush: after a crash the lease is re-acquired or the row
re-sent. The messages themselves were committed durably before."""
RECENT_REFUSAL_S = 10.0
"""Seconds for which a refused write means that the database accepts none; afterwards the readiness check tries one."""
READINESS_CHECK = text("""
    SELECT pg_is_in_recovery() OR CAST(current_setting('transaction_read_only') AS boolean) AS is_read_only,
        EXISTS (SELECT FROM outbox) AS has_rows""")
"""Reads a table of the service, and whether its transactions may write."""
WRITE_CHECK = text("""
    INSERT INTO inbox (message_id, flow, conversation_id) VALUES ('readiness ' || gen_random_uuid(), '', '')""")
"""Rolled back by the check, so that it leaves nothing behind. A full disk or a lock refuses it like any other write."""


class Engines(NamedTuple):
    """A service's engines, one for each kind of work that must not wait for another. Connections open on demand."""

    messaging: AsyncEngine
    """Handling of messages and of other services' calls."""
    edge: AsyncEngine
    """Riders' requests."""
    background: AsyncEngine
    """Relay, deadlines, readiness and load signals."""

    async def check(self) -> None:
        """Read a table of the service, and find out whether the database accepts writes.

        Raises:
            Unreachable: the database does not answer in time, accepts no writes, or is behind a pooler in transaction
                mode; the text is the plain reason.
        """
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S), acquire(self.background) as connection:
                if await is_pooled(connection):
                    async with acquire(self.background) as other:
                        await refuse_shared_server(connection, other)
                await self._check_writes(connection)
        except TimeoutError as error:
            text = f"the database does not answer within {CHECK_TIMEOUT_S:g} s: it is overloaded, locked or gone"
            raise Unreachable(text) from error

    async def _check_writes(self, connection: PooledConnection) -> None:
        if (await connection.execute_without_begin(READINESS_CHECK)).one().is_read_only:
            for engine in self:
                outdate_connections(engine)
            raise Unreachable(READ_ONLY.reason)
        refused = [health for engine in self if (health := write_health_of(engine)).refusal]
        for health in refused:
            if reason := health.recent_refusal(RECENT_REFUSAL_S):
                raise Unreachable(reason)
        if refused:
            await connection.execute(WRITE_CHECK)
            await connection.rollback()
            for health in refused:
                health.record_success()

    async def dispose(self) -> None:
        """Close all connections, waiting at most CLOSE_TIMEOUT_S for each engine."""
        for engine in self:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await engine.dispose()


def create_engines(service: str, url: str) -> Engines:
    """Create the engines of a service at the database ``url``; they connect when they are first used."""
    return Engines(
        create_engine(service, url),
        create_engine(service, url, pool_size=EDGE_POOL_SIZE),
        create_engine(service, url, pool_size=BACKGROUND_POOL_SIZE, extra_settings=ASYNCHRONOUS_COMMIT),
    )


def create_engine(
    service: str,
    url: str,
    *,
    pool_size: int = POOL_SIZE,
    max_overflow: int = MAX_OVERFLOW,
    extra_settings: Mapping[str, str] = NO_PARAMETERS,
) -> AsyncEngine:
    """Return an engine whose connections see the service's schema only and have timeouts for statements and locks."""
    settings = {
        "application_name": f"prebook-{service}",
        "search_path": service,
        "statement_timeout": "15s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
        **PLANNER_SETTINGS,
        **extra_settings,
    }
    return create_async_engine(
        url,
        poolclass=Pool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=CHECKOUT_TIMEOUT_S,
        pool_use_lifo=True,  # a few connections do most of the work and keep their plans; checkout_idle relies on it
        hide_parameters=True,  # parameters are riders' data, and errors are logged
        pool_reset_on_return=None,  # acquire ends an open transaction before it returns the connection
        pool_pre_ping=False,  # a dead connection is an ordinary error: the message or request is retried
        connect_args={"server_settings": settings, "timeout": 5},
    )
