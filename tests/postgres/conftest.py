"""A migrated database with the schema of pricing, and its administrator, for tests of outages."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from prebook.postgres.dsn import asyncpg_dsn
from tests.databases import Databases

SERVICE = "pricing"


@pytest.fixture(scope="module")
def admin_url(databases: Databases) -> str:
    return databases.create_migrated(SERVICE)


@pytest.fixture
async def admin(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(asyncpg_dsn(admin_url))
    try:
        yield connection
    finally:
        await connection.close()
