"""Clients of the shared suite: riders, database, operations, broker and supervisor."""

from collections.abc import AsyncIterator

import aio_pika
import asyncpg
import httpx
import pytest

from prebook.postgres.dsn import asyncpg_dsn
from tests.integration.broker_probe import BrokerProbe
from tests.integration.control_client import ControlClient, open_control
from tests.integration.database_probe import DatabaseProbe
from tests.integration.internal_client import open_operations_client
from tests.integration.rider_client import RiderClient
from tests.integration.suite import Suite


@pytest.fixture
async def rider(suite: Suite) -> AsyncIterator[RiderClient]:
    async with httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http:
        yield RiderClient(http)


@pytest.fixture
async def database(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


@pytest.fixture
async def operations(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    async with open_operations_client(suite) as http:
        yield http


@pytest.fixture
async def broker(suite: Suite, operations: httpx.AsyncClient, database: DatabaseProbe) -> AsyncIterator[BrokerProbe]:
    """Access to the broker. The test fails if it leaves parked messages that it has not collected."""
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        broker = BrokerProbe(await connection.channel(on_return_raises=True), operations, database)
        yield broker
        await broker.collect_parked(0)


@pytest.fixture
async def control(suite: Suite) -> AsyncIterator[ControlClient]:
    """Access to the supervisor. After the test, the fixture waits until every process is running again."""
    async with open_control(suite) as control:
        yield control
        await control.wait_until_all_running()
