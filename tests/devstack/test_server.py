"""Parts that are sent away on purpose and come back: real processes, the same data."""

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
from tests.devstack.polling import is_gone, until

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
            ready = await server.start()
            part = SupervisedServer("database", ready.version, server)
            yield ready, part
            await part.close()
        finally:
            await server.stop()


async def _is_back(part: SupervisedServer) -> None:
    await until(lambda: part.info().state is ServerState.RUNNING or part.failure(), BACK_WITHIN_S)
    assert part.failure() is None


@pytest.mark.parametrize("how", list(ShutdownMode))
async def test_a_database_comes_back_with_what_was_committed(how: ShutdownMode) -> None:
    async with database() as (ready, part):
        url = ready.url.replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        clock = asyncio.get_running_loop().time
        began = clock()
        effect = await part.restart(Restart(how, down_s=1.0))
        assert part.info().state is ServerState.DOWN
        assert part.failure() is None, "away on purpose"
        with pytest.raises(NotRunning):
            await part.restart(Restart(how))
        await until(lambda: is_gone(effect.pid))
        await _is_back(part)
        assert clock() - began >= 1.0
        assert part.info().restarts == 1
        assert part.info().pid not in {None, effect.pid}
        again = await asyncpg.connect(url)
        assert await again.fetchval("SELECT number FROM kept") == 7
        connection.terminate()
        await again.close()


async def test_a_part_that_ends_by_itself_breaks_the_suite() -> None:
    async with database() as (_, part):
        pid = part.info().pid
        assert pid
        assert part.failure() is None
        os.kill(pid, signal.SIGKILL)
        await until(part.failure)
        assert part.info().state is ServerState.DOWN


async def test_a_suite_may_stop_while_a_part_is_away() -> None:
    async with database() as (_, part):
        effect = await part.restart(Restart(ShutdownMode.KILL, down_s=300.0))
    assert is_gone(effect.pid)


async def test_a_database_has_no_memory_alarm() -> None:
    async with database() as (_, part):
        with pytest.raises(NotRunning, match="the broker has"):
            await part.raise_alarm(1.0)


@needs_rabbitmq
async def test_a_broker_is_killed_stopped_and_starved_and_loses_nothing() -> None:
    async with start_stack(silent, LOCAL) as ready, supervise_servers(ready) as ours:
        assert set(ours) == {"broker", "database"}
        part = ours["broker"]
        await _published(ready, b"before")
        await until(_registered_since(ready, time.time()))
        for how in ShutdownMode:
            effect = await part.restart(Restart(how))
            assert part.failure() is None, "away on purpose"
            await _is_back(part)
            assert is_gone(effect.pid)
        assert part.info().restarts == 2
        assert await _taken(ready) == b"before"
        await _blocks_while_the_alarm_is_on(ready, part)


async def _blocks_while_the_alarm_is_on(ready: Stack, part: SupervisedServer) -> None:
    async with await aio_pika.connect(ready.broker.amqp_url) as connection:
        await part.raise_alarm(3.0)
        assert part.info().alarm
        publishing = asyncio.create_task(_publish(connection, b"held up"))
        _, pending = await asyncio.wait({publishing}, timeout=1.0)
        assert pending, "no confirm while publishers are blocked"
        await asyncio.wait_for(publishing, 20)
        assert not part.info().alarm or await _lifted(part)
    assert await _taken(ready) == b"held up"


def _registered_since(ready: Stack, declared_at: float) -> Callable[[], bool]:
    """RabbitMQ writes down within 5 s which quorum queues there are: one that is killed earlier forgets the newest."""
    tables = [*ready.data_dir.glob("rabbitmq/data/*/quorum/*/*.dets")]
    assert len(tables) == 2
    return lambda: all(table.stat().st_mtime > declared_at for table in tables)


async def _lifted(part: SupervisedServer) -> bool:
    await until(lambda: not part.info().alarm, 20)
    return True


async def _published(ready: Stack, body: bytes) -> None:
    async with await aio_pika.connect(ready.broker.amqp_url) as connection:
        await _publish(connection, body)


async def _publish(connection: AbstractConnection, body: bytes) -> None:
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, "kept")


async def _taken(ready: Stack) -> bytes:
    async with await aio_pika.connect(ready.broker.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with asyncio.timeout(BACK_WITHIN_S):
            while not (message := await queue.get(fail=False)):
                await asyncio.sleep(0.05)
        await message.ack()
        return message.body
