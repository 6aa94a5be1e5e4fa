"""The engines of a service process, and what their connections are like."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prebook.postgres.connection import NO_PARAMETERS, acquire
from prebook.postgres.pool import Pool

POOL_SIZE, MAX_OVERFLOW = 8, 0
"""A busy connection costs the server about 5 MB; more of them make two cores no faster. One beyond the pool would be
closed when it is given back, and a new one has its types looked up and its statements planned first."""
EDGE_POOL_SIZE, BACKGROUND_POOL_SIZE = 4, 2
"""Who waits for a connection behind a crowd of requests can neither answer them, nor see that they are too many."""
CHECKOUT_TIMEOUT_S, CHECK_TIMEOUT_S, CLOSE_TIMEOUT_S = 5, 2, 2
PLANNER_SETTINGS = {"enable_seqscan": "off", "jit": "off", "plan_cache_mode": "force_generic_plan"}
"""Every statement of a service goes by an index, whatever its values are: planned once for each connection, and not
each time. What is planned while a table is small must still be right when it is not, so no plan reads a whole table
that has an index for it."""
ASYNCHRONOUS_COMMIT = {"synchronous_commit": "off"}
"""Of leases, and notes of what was done: one that is lost with the database is taken, or done, again. So they need not
wait for a disk. What they are about was committed for good before."""


READINESS_CHECK = text("SELECT 1 FROM outbox LIMIT 1")


class Engines(NamedTuple):
    """A service's connections, apart by who may not wait for whom. They are opened when they are needed."""

    messaging: AsyncEngine
    """Messages, and calls of other services."""
    edge: AsyncEngine
    """What people ask for. However many come at a time, what they asked for before goes on."""
    background: AsyncEngine
    """Relay, deadlines, readiness, and the look at what waits."""

    async def check(self) -> None:
        """Raises whatever keeps us from the service's tables, or TimeoutError."""
        async with asyncio.timeout(CHECK_TIMEOUT_S), acquire(self.background) as connection:
            await connection.execute_without_begin(READINESS_CHECK)

    async def dispose(self) -> None:
        """A connection that no longer answers is not waited for."""
        for engine in self:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await engine.dispose()


def create_engines(service: str, url: str) -> Engines:
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
    """Connections see the service's schema only, and give up rather than hold locks for ever."""
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
        pool_use_lifo=True,  # where few are needed they are the same few, whose plans are at hand; see Pool.idle, too
        hide_parameters=True,  # they are riders' data, and errors are logged
        pool_reset_on_return=None,  # whoever leaves a transaction open ends it before giving back
        pool_pre_ping=False,  # a dead connection is an error like any other: the message or request comes again
        connect_args={"server_settings": settings, "timeout": 5},
    )
