"""Broker and database start, work, listen on the loopback interface only, and leave nothing behind."""

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
from tests.devstack.procfs import listeners, paths_with_prefix, processes_in, program_path

needs_rabbitmq = pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed")
LOCAL = {**os.environ, "PREBOOK_STACK": "local"}


def ignore_progress(_: str) -> None:
    """Ignore a line of progress."""


async def _verify_servers_work(ready: Stack) -> None:
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
async def test_local_servers_work_listen_on_loopback_only_and_end_with_the_stack() -> None:
    async with start_stack(ignore_progress, LOCAL) as ready:
        assert ready.mode == "local"
        await _verify_servers_work(ready)
        assert ready.broker.pid
        assert ready.database.pid
        started = processes_in(ready.data_dir)
        assert {ready.broker.pid, ready.database.pid} <= set(started)
        addresses = set().union(*map(listeners, started))
        assert addresses <= {"0100007F", "00000000000000000000000001000000"}, "127.0.0.1 and ::1"
        assert addresses
    await wait_until(lambda: all(map(is_gone, started)))
    assert not ready.data_dir.exists()


@needs_rabbitmq
@pytest.mark.real
async def test_default_passwords_are_refused() -> None:
    async with start_stack(ignore_progress, LOCAL) as ready:
        address = ready.database.url.rpartition("@")[2]
        for password in ("postgres", ""):
            with pytest.raises(asyncpg.PostgresError):
                await asyncpg.connect(f"postgresql://postgres:{password}@{address}")
        async with aiohttp.ClientSession() as client:
            for user in ("guest", ready.broker.user):
                login = {"Authorization": "Basic " + base64.b64encode(f"{user}:guest".encode()).decode()}
                async with client.get(f"{ready.broker.management_url}/api/overview", headers=login) as response:
                    assert response.status == 401


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
    assert paths_with_prefix(data)
    with create_data_dir():
        assert not paths_with_prefix(data), "the next run removes the folder of a killed one"


@needs_rabbitmq
@pytest.mark.real
async def test_an_interrupted_start_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.filesystem.DATA_DIR_PREFIX", f"prebook-interrupted-{os.getpid()}-")
    prefix = Path(tempfile.gettempdir()) / f"prebook-interrupted-{os.getpid()}-"
    starting = asyncio.create_task(_start_and_wait())
    await wait_until(lambda: len(processes_in(prefix)) >= 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await wait_until(lambda: not processes_in(prefix))
    assert not paths_with_prefix(prefix)


async def _start_and_wait() -> None:
    async with start_stack(ignore_progress, LOCAL):
        await asyncio.Event().wait()


async def test_the_error_of_a_database_that_cannot_start_has_its_own_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, create_data_dir() as data:
        monkeypatch.setattr("prebook.devstack.database.embedded.allocate_ports", lambda _: (taken.getsockname()[1],))
        database = EmbeddedPostgres(data, ignore_progress)
        with pytest.raises(UserError, match="Address already in use"):
            await database.start()
        await database.stop()
        assert not processes_in(data)


@pytest.mark.containers
async def test_containers_work_and_are_removed() -> None:
    async with start_stack(ignore_progress, {**os.environ, "PREBOOK_STACK": "docker"}) as ready:
        assert ready.mode == "docker"
        await _verify_servers_work(ready)
        containers = _list_containers()
        assert len(containers) >= 2
    assert not containers & _list_containers()


def _list_containers() -> set[str]:
    """Return the ids of the containers that this process started."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"label=prebook.owner={os.getpid()}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


async def test_a_database_program_that_its_account_cannot_read_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prebook.devstack.filesystem.can_reach", lambda *_: False)
    with create_data_dir() as data:
        database = EmbeddedPostgres(data, ignore_progress)
        try:
            ready = await database.start()
            assert ready.pid
            assert f"{data}/site" in program_path(ready.pid)
        finally:
            await database.stop()
