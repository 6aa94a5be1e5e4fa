"""Each service's own accounts, tried on everything that is not its own."""

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
    """Service -> the environment that its process was given."""
    return {name: psutil.Process(await control.read_pid(name)).environ() for name in PROCESSES}


async def test_a_service_is_given_its_own_accounts_and_no_administrators(
    suite: Suite, environments: dict[str, dict[str, str]]
) -> None:
    secrets = {suite.state.management_password, suite.state.control_token}
    for service, env in environments.items():
        assert f"//prebook_{service}:" in env["PREBOOK_DATABASE_URL"]
        assert f"//prebook_{service}:" in env["PREBOOK_AMQP_URL"]
        assert not [name for name, value in env.items() if any(secret in value for secret in secrets)]


OWN = "SELECT * FROM {own}.inbox"
FOREIGN = (
    "SELECT * FROM {other}.inbox",
    "DELETE FROM {other}.outbox",
    "CREATE TABLE {own}.another (id int)",
    "CREATE TABLE {other}.another (id int)",
    "CREATE TABLE public.another (id int)",
    "CREATE ROLE another",
)


async def test_the_database_role_of_a_service_sees_its_own_schema_only(environments: dict[str, dict[str, str]]) -> None:
    for own, other in permutations(PROCESSES, 2):
        connection = await asyncpg.connect(asyncpg_dsn(environments[own]["PREBOOK_DATABASE_URL"]))
        try:
            await connection.execute(OWN.format(own=own))
            for statement in FOREIGN:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement.format(own=own, other=other))
        finally:
            await connection.close()


@asynccontextmanager
async def channel_of(connection: aio_pika.abc.AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """A refused one is closed by the broker already."""
    channel = await connection.channel(on_return_raises=True)
    yield channel
    if not channel.is_closed:
        await channel.close()


@pytest.mark.parametrize("service", PROCESSES)
async def test_the_broker_user_of_a_service_can_do_nothing_that_the_model_does_not_grant(
    environments: dict[str, dict[str, str]], service: str
) -> None:
    granted = {(g.exchange, g.routing_key) for g in TOPOLOGY.grants if g.account == service}
    foreign = sorted({(g.exchange, g.routing_key) for g in TOPOLOGY.grants} - granted)
    assert foreign
    async with await aio_pika.connect(environments[service]["PREBOOK_AMQP_URL"]) as connection:
        for exchange, key in [*foreign, ("", addresses.PARKING_QUEUE)]:
            async with channel_of(connection) as channel:
                target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
                with pytest.raises(ChannelAccessRefused):
                    await target.publish(aio_pika.Message(b"{}"), key, mandatory=True)
        for queue in sorted(q.name for q in TOPOLOGY.queues if q.consumer != service):
            async with channel_of(connection) as channel:
                with pytest.raises(ChannelAccessRefused):
                    await (await channel.get_queue(queue, ensure=False)).get(fail=False)
        async with channel_of(connection) as channel:
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue("another", durable=True)


async def test_nobody_can_pretend_to_be_another_service(environments: dict[str, dict[str, str]]) -> None:
    async with await aio_pika.connect(environments["booking"]["PREBOOK_AMQP_URL"]) as connection:
        channel = await connection.channel(on_return_raises=True)
        target: Any = await channel.get_exchange(addresses.REQUESTS, ensure=False)
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await target.publish(aio_pika.Message(b"{}", user_id="prebook_pricing"), "quote_fare", mandatory=True)
