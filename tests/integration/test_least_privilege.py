"""The accounts of each service are refused everything that belongs to another service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import permutations
from typing import Any

import aio_pika
import asyncpg
import psutil
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused
from sqlalchemy import make_url

from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.messaging.policy import retry_delays_s
from prebook.postgres.dsn import asyncpg_dsn
from prebook.topology.model import suite_topology
from tests.integration.control_client import ControlClient
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
TOPOLOGY = suite_topology(retry_delays_s(POLICIES))


@pytest.fixture
async def environments(control: ControlClient) -> dict[str, dict[str, str]]:
    """Environment of the process of each service, by service."""
    return {name: psutil.Process(await control.read_pid(name)).environ() for name in PROCESSES}


async def test_a_service_gets_only_its_own_accounts(suite: Suite, environments: dict[str, dict[str, str]]) -> None:
    secrets = {suite.state.management_password, suite.state.control_token}
    for service, env in environments.items():
        assert f"//prebook_{service}:" in env["PREBOOK_DATABASE_URL"]
        assert f"//prebook_{service}:" in env["PREBOOK_AMQP_URL"]
        assert not [name for name, value in env.items() if any(secret in value for secret in secrets)]


OWN_STATEMENT = "SELECT * FROM {own}.inbox"
FOREIGN_STATEMENTS = (
    "SELECT * FROM {other}.inbox",
    "DELETE FROM {other}.outbox",
    "CREATE TABLE {own}.another (id int)",
    "CREATE TABLE {other}.another (id int)",
    "CREATE TABLE public.another (id int)",
    "CREATE TEMPORARY TABLE another (id int)",
    "CREATE ROLE another",
)


async def test_the_database_role_of_a_service_sees_its_own_schema_only(environments: dict[str, dict[str, str]]) -> None:
    for own, other in permutations(PROCESSES, 2):
        connection = await asyncpg.connect(asyncpg_dsn(environments[own]["PREBOOK_DATABASE_URL"]))
        try:
            await connection.execute(OWN_STATEMENT.format(own=own))
            for statement in FOREIGN_STATEMENTS:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement.format(own=own, other=other))
        finally:
            await connection.close()


async def test_a_service_cannot_connect_to_another_database_of_the_server(
    environments: dict[str, dict[str, str]],
) -> None:
    for service in PROCESSES:
        own = make_url(environments[service]["PREBOOK_DATABASE_URL"])
        for other in ("postgres", "template1"):
            url = own.set(database=other).render_as_string(hide_password=False)
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match=r"pg_hba\.conf rejects"):
                await asyncpg.connect(asyncpg_dsn(url))


@asynccontextmanager
async def open_channel(connection: aio_pika.abc.AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """Open a channel, and close it at the end unless the broker closed it after a refused operation."""
    channel = await connection.channel(on_return_raises=True)
    yield channel
    if not channel.is_closed:
        await channel.close()


@pytest.mark.parametrize("service", PROCESSES)
async def test_the_broker_account_of_a_service_can_do_only_what_the_model_grants(
    environments: dict[str, dict[str, str]], service: str
) -> None:
    granted = {(g.exchange, g.routing_key) for g in TOPOLOGY.grants if g.account == service}
    foreign = sorted({(g.exchange, g.routing_key) for g in TOPOLOGY.grants} - granted)
    assert foreign
    async with await aio_pika.connect(environments[service]["PREBOOK_AMQP_URL"]) as connection:
        for exchange, key in [*foreign, ("", addresses.PARKING_QUEUE)]:
            async with open_channel(connection) as channel:
                target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
                with pytest.raises(ChannelAccessRefused):
                    await target.publish(aio_pika.Message(b"{}"), key, mandatory=True)
        for queue in sorted(q.name for q in TOPOLOGY.queues if q.consumer != service):
            async with open_channel(connection) as channel:
                with pytest.raises(ChannelAccessRefused):
                    await (await channel.get_queue(queue, ensure=False)).get(fail=False)
        async with open_channel(connection) as channel:
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue("another", durable=True)


async def test_a_service_cannot_publish_as_another_service(environments: dict[str, dict[str, str]]) -> None:
    async with await aio_pika.connect(environments["booking"]["PREBOOK_AMQP_URL"]) as connection:
        channel = await connection.channel(on_return_raises=True)
        target: Any = await channel.get_exchange(addresses.REQUESTS, ensure=False)
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await target.publish(aio_pika.Message(b"{}", user_id="prebook_pricing"), "quote_fare", mandatory=True)
