"""Servers that are restarted through the supervisor: real processes, the same data."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractConnection

from prebook.devstack.broker import installation
from prebook.devstack.database.embedded import EmbeddedPostgres
from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.servers import Database
from prebook.devstack.stack import Stack, start_stack
from prebook.devstack.supervisor.contract import NotRunning, Restart, ServerState, ShutdownMode
from prebook.devstack.supervisor.server import SupervisedServer, supervise_servers
from prebook.postgres.dsn import asyncpg_dsn
from tests.devstack.polling import is_gone, wait_until

needs_rabbitmq = pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed")
pytestmark = pytest.mark.real
LOCAL = {**os.environ, "PREBOOK_STACK": "local"}
BACK_WITHIN_S = 60.0


def silent(_: str) -> None:
    """Progress is of no interest here."""


@asynccontextmanager
async def database() -> AsyncIterator[tuple[Database, SupervisedServer]]:
    with create_data_dir() as data:
        server = EmbeddedPostgres(data, silent)
        try:
            running = await server.start()
            supervised = SupervisedServer("database", running.version, server)
            yield running, supervised
            await supervised.close()
        finally:
            await server.stop()


async def _is_back(supervised: SupervisedServer) -> None:
    await wait_until(lambda: supervised.info().state is ServerState.RUNNING or supervised.failure(), BACK_WITHIN_S)
    assert supervised.failure() is None


@pytest.mark.parametrize("shutdown", list(ShutdownMode))
async def test_a_database_comes_back_with_what_was_committed(shutdown: ShutdownMode) -> None:
    async with database() as (running, supervised):
        url = asyncpg_dsn(running.url)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        clock = asyncio.get_running_loop().time
        began = clock()
        effect = await supervised.restart(Restart(shutdown, down_s=1.0))
        assert supervised.info().state is ServerState.DOWN
        assert supervised.failure() is None, "away on purpose"
        with pytest.raises(NotRunning):
            await supervised.restart(Restart(shutdown))
        await wait_until(lambda: is_gone(effect.pid))
        await _is_back(supervised)
        assert clock() - began >= 1.0
        assert supervised.info().restarts == 1
        assert supervised.info().pid not in {None, effect.pid}
        again = await asyncpg.connect(url)
        assert await again.fetchval("SELECT number FROM kept") == 7
        connection.terminate()
        await again.close()


async def test_a_server_that_ends_by_itself_breaks_the_suite() -> None:
    async with database() as (_, supervised):
        pid = supervised.info().pid
        assert pid
        assert supervised.failure() is None
        os.kill(pid, signal.SIGKILL)
        await wait_until(supervised.failure)
        assert supervised.info().state is ServerState.DOWN


async def test_a_suite_may_stop_while_a_server_is_down() -> None:
    async with database() as (_, supervised):
        effect = await supervised.restart(Restart(ShutdownMode.KILL, down_s=300.0))
    assert is_gone(effect.pid)


async def test_a_database_has_no_memory_alarm() -> None:
    async with database() as (_, supervised):
        with pytest.raises(NotRunning, match="the broker has"):
            await supervised.raise_alarm(1.0)


@needs_rabbitmq
async def test_a_broker_is_killed_stopped_and_starved_and_loses_nothing() -> None:
    async with start_stack(silent, LOCAL) as running, supervise_servers(running) as servers:
        assert set(servers) == {"broker", "database"}
        supervised = servers["broker"]
        await _published(running, b"before")
        await wait_until(_registered_since(running, time.time()))
        for shutdown in ShutdownMode:
            effect = await supervised.restart(Restart(shutdown))
            assert supervised.failure() is None, "away on purpose"
            await _is_back(supervised)
            assert is_gone(effect.pid)
        assert supervised.info().restarts == 2
        assert await _taken(running) == b"before"
        await _blocks_while_the_alarm_is_on(running, supervised)


async def _blocks_while_the_alarm_is_on(running: Stack, supervised: SupervisedServer) -> None:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        await supervised.raise_alarm(3.0)
        assert supervised.info().alarm
        publishing = asyncio.create_task(_publish(connection, b"held up"))
        _, pending = await asyncio.wait({publishing}, timeout=1.0)
        assert pending, "no confirm while publishers are blocked"
        await asyncio.wait_for(publishing, 20)
        assert not supervised.info().alarm or await _lifted(supervised)
    assert await _taken(running) == b"held up"


def _registered_since(running: Stack, declared_at: float) -> Callable[[], bool]:
    """RabbitMQ writes down within 5 s which quorum queues there are: one that is killed earlier forgets the newest."""
    tables = [*running.data_dir.glob("rabbitmq/data/*/quorum/*/*.dets")]
    assert len(tables) == 2
    return lambda: all(table.stat().st_mtime > declared_at for table in tables)


async def _lifted(supervised: SupervisedServer) -> bool:
    await wait_until(lambda: not supervised.info().alarm, 20)
    return True


async def _published(running: Stack, body: bytes) -> None:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        await _publish(connection, body)


async def _publish(connection: AbstractConnection, body: bytes) -> None:
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, "kept")


async def _taken(running: Stack) -> bytes:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with asyncio.timeout(BACK_WITHIN_S):
            while not (message := await queue.get(fail=False)):
                await asyncio.sleep(0.05)
        await message.ack()
        return message.body
