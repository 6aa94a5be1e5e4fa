"""Live replicas of a service, by their database sessions: a session ends with its process."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.connection import acquire

LIVE_REPLICAS = text(
    "SELECT DISTINCT application_name FROM pg_stat_activity "
    "WHERE starts_with(application_name, :prefix) AND usename = current_user"
)


async def read_live_replicas(engine: AsyncEngine, prefix: str) -> Sequence[str]:
    """Return the sorted names of sessions of the service's role that begin with ``prefix``. Raises Unreachable."""
    async with acquire(engine) as connection:
        return sorted((await connection.execute_without_begin(LIVE_REPLICAS, {"prefix": prefix})).scalars())
