"""Restarts of database and broker by the supervisor: real processes, which keep their data."""

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
from prebook.devstack.supervisor.contract import NotRunning, Restart, ServerState, ShutdownMode, WriteFault
from prebook.devstack.supervisor.server import SupervisedServer, supervise_servers
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.devstack.polling import is_gone, wait_until

needs_rabbitmq = pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed")
pytestmark = pytest.mark.real
LOCAL = {**os.environ, "PREBOOK_STACK": "local"}
RESTART_TIMEOUT_S = 60.0


def ignore_progress(_: str) -> None:
    """Ignore a line of progress."""


@asynccontextmanager
async def start_database() -> AsyncIterator[tuple[Database, SupervisedServer]]:
    with create_data_dir() as data:
        server = EmbeddedPostgres(data, ignore_progress)
        try:
            running = await server.start()
            supervised = SupervisedServer("database", running.version, server)
            yield running, supervised
            await supervised.close()
        finally:
            await server.stop()


async def _wait_until_restarted(supervised: SupervisedServer) -> None:
    await wait_until(lambda: supervised.info().state is ServerState.RUNNING or supervised.failure(), RESTART_TIMEOUT_S)
    assert supervised.failure() is None


@pytest.mark.parametrize("shutdown", list(ShutdownMode))
async def test_a_restarted_database_keeps_committed_data(shutdown: ShutdownMode) -> None:
    async with start_database() as (running, supervised):
        url = asyncpg_dsn(running.url)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        clock = asyncio.get_running_loop().time
        began = clock()
        effect = await supervised.restart(Restart(shutdown, down_s=1.0))
        assert supervised.info().state is ServerState.DOWN
        assert supervised.failure() is None, "a server that is down on command has not failed"
        with pytest.raises(NotRunning):
            await supervised.restart(Restart(shutdown))
        await wait_until(lambda: is_gone(effect.pid))
        await _wait_until_restarted(supervised)
        assert clock() - began >= 1.0
        assert supervised.info().restarts == 1
        assert supervised.info().pid not in {None, effect.pid}
        reconnected = await asyncpg.connect(url)
        assert await reconnected.fetchval("SELECT number FROM kept") == 7
        connection.terminate()
        await reconnected.close()


async def test_a_server_that_ends_unexpectedly_has_failed() -> None:
    async with start_database() as (_, supervised):
        pid = supervised.info().pid
        assert pid
        assert supervised.failure() is None
        os.kill(pid, signal.SIGKILL)
        await wait_until(supervised.failure)
        assert supervised.info().state is ServerState.DOWN


async def test_a_suite_can_stop_while_a_server_is_down() -> None:
    async with start_database() as (_, supervised):
        effect = await supervised.restart(Restart(ShutdownMode.KILL, down_s=300.0))
    assert is_gone(effect.pid)


async def test_a_database_has_no_memory_alarm() -> None:
    async with start_database() as (_, supervised):
        with pytest.raises(NotRunning, match="a broker node has one"):
            await supervised.raise_alarm(1.0)


@pytest.mark.parametrize(
    ("fault", "error"),
    [(WriteFault.READ_ONLY, asyncpg.ReadOnlySQLTransactionError), (WriteFault.LOCKED, asyncpg.LockNotAvailableError)],
)
async def test_a_database_that_is_kept_from_writing_answers_and_writes_again(
    fault: WriteFault, error: type[Exception]
) -> None:
    async with start_database() as (running, supervised):
        connection = await asyncpg.connect(asyncpg_dsn(running.url))
        await connection.execute("CREATE TABLE outbox (number integer); SET lock_timeout = '100ms'")
        await supervised.prevent_writes(fault, 60.0)

        async def is_refused() -> bool:
            try:
                await connection.execute("INSERT INTO outbox VALUES (1)")
            except error:
                return True
            return False

        await poll_until(is_refused)
        assert await connection.fetchval("SELECT 1") == 1
        await supervised.prevent_writes(fault, 0.1)

        async def is_accepted() -> bool:
            return not await is_refused()

        await poll_until(is_accepted)
        await connection.close()


async def test_a_suite_that_stops_leaves_no_database_read_only() -> None:
    async with start_database() as (running, supervised):
        await supervised.prevent_writes(WriteFault.READ_ONLY, 300.0)
        await supervised.close()
        connection = await asyncpg.connect(asyncpg_dsn(running.url))

        async def is_writable() -> bool:
            return bool(await connection.fetchval("SHOW default_transaction_read_only") == "off")

        await poll_until(is_writable)
        await connection.close()


@needs_rabbitmq
@pytest.mark.long
async def test_a_broker_loses_no_message_in_a_kill_a_stop_and_a_memory_alarm() -> None:
    async with start_stack(ignore_progress, LOCAL) as running, supervise_servers(running) as servers:
        assert set(servers) == {"broker", "database"}
        supervised = servers["broker"]
        await _connect_and_publish(running, b"before")
        await wait_until(_queues_recorded_since(running, time.time()))
        for shutdown in ShutdownMode:
            effect = await supervised.restart(Restart(shutdown))
            assert supervised.failure() is None, "a server that is down on command has not failed"
            await _wait_until_restarted(supervised)
            assert is_gone(effect.pid)
        assert supervised.info().restarts == 2
        assert await _take_message(running) == b"before"
        await _verify_alarm_blocks_publishers(running, supervised)


async def _verify_alarm_blocks_publishers(running: Stack, supervised: SupervisedServer) -> None:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        await supervised.raise_alarm(3.0)
        assert supervised.info().alarm
        publishing = asyncio.create_task(_publish(connection, b"blocked"))
        _, pending = await asyncio.wait({publishing}, timeout=1.0)
        assert pending, "no confirm while publishers are blocked"
        await asyncio.wait_for(publishing, 20)
        assert not supervised.info().alarm or await _wait_until_alarm_ends(supervised)
    assert await _take_message(running) == b"blocked"


def _queues_recorded_since(running: Stack, declared_at: float) -> Callable[[], bool]:
    """Return a condition: RabbitMQ has recorded its quorum queues since ``declared_at``.

    RabbitMQ writes them to disk within 5 s; a node that is killed earlier forgets the newest queue.
    """
    tables = [*running.data_dir.glob("rabbitmq/data/*/quorum/*/*.dets")]
    assert len(tables) == 2
    return lambda: all(table.stat().st_mtime > declared_at for table in tables)


async def _wait_until_alarm_ends(supervised: SupervisedServer) -> bool:
    await wait_until(lambda: not supervised.info().alarm, 20)
    return True


async def _connect_and_publish(running: Stack, body: bytes) -> None:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        await _publish(connection, body)


async def _publish(connection: AbstractConnection, body: bytes) -> None:
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, "kept")


async def _take_message(running: Stack) -> bytes:
    async with await aio_pika.connect(running.broker.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with asyncio.timeout(RESTART_TIMEOUT_S):
            while not (message := await queue.get(fail=False)):
                await asyncio.sleep(0.05)
        await message.ack()
        return message.body
