"""Which replicas of a service are alive: the server knows, for a session ends with its process."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.connection import in_time
from prebook.postgres.pool import limit_of
from prebook.postgres.unit_of_work import connected, reachable

ROSTER = text("SELECT DISTINCT application_name FROM pg_stat_activity WHERE starts_with(application_name, :prefix)")


async def roster(engine: AsyncEngine, prefix: str) -> Sequence[str]:
    """Names of sessions that begin so, sorted. Raises Unreachable."""
    with reachable(), in_time(limit_of(engine)):
        async with connected(engine) as connection:
            return sorted((await connection.execute(ROSTER, {"prefix": prefix})).scalars())
