from collections.abc import AsyncIterator

import aio_pika
import asyncpg
import httpx
import pytest

from prebook.postgres.dsn import asyncpg_dsn
from tests.integration.books import Books
from tests.integration.broker import Broker
from tests.integration.control import Control, controlled
from tests.integration.riders import Riders
from tests.integration.suite import Suite


@pytest.fixture
async def riders(suite: Suite) -> AsyncIterator[Riders]:
    async with httpx.AsyncClient(base_url=suite.where.urls["booking"], timeout=30, trust_env=False) as http:
        yield Riders(http)


@pytest.fixture
async def books(suite: Suite) -> AsyncIterator[Books]:
    connection = await asyncpg.connect(asyncpg_dsn(suite.where.database_url))
    try:
        yield Books(connection)
    finally:
        await connection.close()


@pytest.fixture
async def operations(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=suite.where.urls["operations"], timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
async def broker(suite: Suite, operations: httpx.AsyncClient, books: Books) -> AsyncIterator[Broker]:
    """Fails the test where it leaves parked messages behind that it did not expect."""
    async with await aio_pika.connect(suite.where.amqp_url) as connection:
        broker = Broker(await connection.channel(on_return_raises=True), operations, books)
        yield broker
        await broker.parked(0)


@pytest.fixture
async def control(suite: Suite) -> AsyncIterator[Control]:
    """Every process runs again when the test is over."""
    async with controlled(suite) as control:
        yield control
        await control.all_run()
