"""A real broker and database: they start, work, keep to the loopback interface, and leave nothing behind."""

import asyncio
import base64
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import aio_pika
import aiohttp
import asyncpg
import pytest

from prebook.devstack.broker import installation
from prebook.devstack.database.embedded import EmbeddedPostgres
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.stack import Stack, start_stack
from prebook.postgres.dsn import asyncpg_dsn
from tests.devstack.polling import is_gone, wait_until
from tests.devstack.procfs import are_there, listeners, processes_in, program

needs_rabbitmq = pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed")
LOCAL = {**os.environ, "PREBOOK_STACK": "local"}


def silent(_: str) -> None:
    """Progress is of no interest here."""


async def _works(ready: Stack) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(ready.database.url))
    assert await connection.fetchval("SHOW fsync") == "on"
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()
    async with await aio_pika.connect(ready.broker.amqp_url) as broker:
        channel = await broker.channel()
        queue = await channel.declare_queue("tried", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"here"), "tried")
        async with asyncio.timeout(10):
            message = await queue.get(timeout=5)
        assert message.body == b"here"


@needs_rabbitmq
@pytest.mark.real
async def test_local_servers_work_listen_on_loopback_only_and_are_gone_afterwards() -> None:
    async with start_stack(silent, LOCAL) as ready:
        assert ready.mode == "local"
        await _works(ready)
        assert ready.broker.pid
        assert ready.database.pid
        started = processes_in(ready.data_dir)
        assert {ready.broker.pid, ready.database.pid} <= set(started)
        heard = set().union(*map(listeners, started))
        assert heard <= {"0100007F", "00000000000000000000000001000000"}, "127.0.0.1 and ::1"
        assert heard
    await wait_until(lambda: all(map(is_gone, started)))
    assert not ready.data_dir.exists()


@needs_rabbitmq
@pytest.mark.real
async def test_nobody_gets_in_with_a_usual_password() -> None:
    async with start_stack(silent, LOCAL) as ready:
        place = ready.database.url.rpartition("@")[2]
        for password in ("postgres", ""):
            with pytest.raises(asyncpg.PostgresError):
                await asyncpg.connect(f"postgresql://postgres:{password}@{place}")
        async with aiohttp.ClientSession() as client:
            for user in ("guest", ready.broker.user):
                login = {"Authorization": "Basic " + base64.b64encode(f"{user}:guest".encode()).decode()}
                async with client.get(f"{ready.broker.management_url}/api/overview", headers=login) as answer:
                    assert answer.status == 401


PROGRAM = textwrap.dedent(
    """
    import asyncio
    from prebook.devstack.stack import start_stack

    async def main():
        async with start_stack(lambda line: None) as ready:
            print(ready.data_dir, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
    """
)


@needs_rabbitmq
@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties children to their parent on Linux only")
async def test_servers_do_not_outlive_a_killed_owner() -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, env=LOCAL)
    assert owner.stdout
    async with asyncio.timeout(60):
        data = Path((await owner.stdout.readline()).decode().strip())
    started = [pid for pid in processes_in(data) if pid != owner.pid]
    assert len(started) >= 3, "port mapper, broker, database"
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    await wait_until(lambda: not processes_in(data), timeout_s=20)
    assert are_there(data)
    with create_data_dir():
        assert not are_there(data), "the next run removes what a killed one left"


@needs_rabbitmq
@pytest.mark.real
async def test_a_start_that_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.filesystem.DATA_DIR_PREFIX", f"prebook-interrupted-{os.getpid()}-")
    place = Path(tempfile.gettempdir()) / f"prebook-interrupted-{os.getpid()}-"
    starting = asyncio.create_task(_held())
    await wait_until(lambda: len(processes_in(place)) >= 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await wait_until(lambda: not processes_in(place))
    assert not are_there(place)


async def _held() -> None:
    async with start_stack(silent, LOCAL):
        await asyncio.Event().wait()


async def test_a_database_that_cannot_start_says_why_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, create_data_dir() as data:
        monkeypatch.setattr("prebook.devstack.database.embedded.allocate_ports", lambda _: (taken.getsockname()[1],))
        database = EmbeddedPostgres(data, silent)
        with pytest.raises(UserError, match="Address already in use"):
            await database.start()
        await database.stop()
        assert not processes_in(data)


@pytest.mark.containers
async def test_containers_work_and_are_removed() -> None:
    async with start_stack(silent, {**os.environ, "PREBOOK_STACK": "docker"}) as ready:
        assert ready.mode == "docker"
        await _works(ready)
        ours = _containers()
        assert len(ours) >= 2
    assert not ours & _containers()


def _containers() -> set[str]:
    """Ids of those that were started from here."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"label=prebook.owner={os.getpid()}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


async def test_a_server_that_its_account_cannot_reach_is_copied_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.filesystem.can_reach", lambda *_: False)
    with create_data_dir() as data:
        database = EmbeddedPostgres(data, silent)
        try:
            ready = await database.start()
            assert ready.pid
            assert f"{data}/site" in program(ready.pid)
        finally:
            await database.stop()
