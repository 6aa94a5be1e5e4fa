from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from tests.integration.books import Books
from tests.integration.riders import Riders
from tests.integration.suite import Suite


@pytest.fixture
async def riders(suite: Suite) -> AsyncIterator[Riders]:
    async with httpx.AsyncClient(base_url=suite.where.urls["booking"], timeout=30, trust_env=False) as http:
        yield Riders(http)


@pytest.fixture
async def books(suite: Suite) -> AsyncIterator[Books]:
    connection = await asyncpg.connect(suite.where.database_url.replace("+asyncpg", "", 1))
    try:
        yield Books(connection)
    finally:
        await connection.close()
