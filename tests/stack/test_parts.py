"""Real parts: they start, work, keep to the loopback interface, and leave nothing behind."""

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

from prebook.runtime.stack import rabbitmq_found
from prebook.runtime.stack.account import data_dir
from prebook.runtime.stack.ladder import Mode, broker_rung, database_rung, mode
from prebook.runtime.stack.parts import Parts
from prebook.runtime.stack.ports import claim, free_ports, is_free
from prebook.runtime.stack.postgres_wheel import WheelPostgres
from prebook.runtime.stack.start import parts
from prebook.runtime.stack.trouble import Trouble
from tests.stack.waiting import is_gone, until

needs_rabbitmq = pytest.mark.skipif(rabbitmq_found.installation() is None, reason="needs rabbitmq-server installed")
LOCAL = {**os.environ, "PREBOOK_STACK": "local"}


def silent(_: str) -> None:
    """Progress is of no interest here."""


def processes_in(folder: Path) -> list[int]:
    """Every process that has the folder on its command line or works in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry.name))
    return found


def program(pid: int) -> str:
    return str(Path(f"/proc/{pid}/exe").readlink())


def are_there(beginning: Path) -> list[Path]:
    """Files and folders whose path begins so."""
    return list(beginning.parent.glob(f"{beginning.name}*"))


def listeners(pid: int) -> set[str]:
    """Addresses, as the kernel writes them, that the process listens on (IPv4: 0100007F is 127.0.0.1)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].split(":")[0])
    return addresses


async def _works(ready: Parts) -> None:
    connection = await asyncpg.connect(ready.database.url.replace("+asyncpg", ""))
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
async def test_private_parts_work_listen_on_loopback_only_and_are_gone_afterwards() -> None:
    async with parts(silent, LOCAL) as ready:
        assert ready.mode == "local"
        await _works(ready)
        assert ready.broker.pid
        assert ready.database.pid
        started = processes_in(ready.data_dir)
        assert {ready.broker.pid, ready.database.pid} <= set(started)
        heard = set().union(*map(listeners, started))
        assert heard <= {"0100007F", "00000000000000000000000001000000"}, "127.0.0.1 and ::1"
        assert heard
    await until(lambda: all(map(is_gone, started)))
    assert not ready.data_dir.exists()


@needs_rabbitmq
@pytest.mark.real
async def test_nobody_gets_in_with_a_usual_password() -> None:
    async with parts(silent, LOCAL) as ready:
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
    from prebook.runtime.stack.start import parts

    async def main():
        async with parts(lambda line: None) as ready:
            print(ready.data_dir, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
    """
)


@needs_rabbitmq
@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties children to their parent on Linux only")
async def test_parts_do_not_outlive_a_killed_owner() -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, env=LOCAL)
    assert owner.stdout
    async with asyncio.timeout(60):
        data = Path((await owner.stdout.readline()).decode().strip())
    started = [pid for pid in processes_in(data) if pid != owner.pid]
    assert len(started) >= 3, "port mapper, broker, database"
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    await until(lambda: not processes_in(data), within_s=20)
    assert are_there(data)
    with data_dir():
        assert not are_there(data), "the next run removes what a killed one left"


@needs_rabbitmq
@pytest.mark.real
async def test_a_start_that_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.runtime.stack.account.PREFIX", f"prebook-interrupted-{os.getpid()}-")
    place = Path(tempfile.gettempdir()) / f"prebook-interrupted-{os.getpid()}-"
    starting = asyncio.create_task(_held())
    await until(lambda: len(processes_in(place)) >= 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not processes_in(place)
    assert not are_there(place)


async def _held() -> None:
    async with parts(silent, LOCAL):
        await asyncio.Event().wait()


async def test_a_database_that_cannot_start_says_why_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, data_dir() as data:
        monkeypatch.setattr("prebook.runtime.stack.postgres_wheel.free_ports", lambda _: (taken.getsockname()[1],))
        database = WheelPostgres(data, silent)
        with pytest.raises(Trouble, match="Address already in use"):
            await database.start()
        await database.stop()
        assert not processes_in(data)


async def test_without_the_wheel_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.runtime.stack.postgres_wheel.WHEEL", "no_such_wheel")
    with pytest.raises(Trouble) as trouble:
        await database_rung(Mode.LOCAL, {})
    assert "pip install" in trouble.value.remedy


async def test_without_any_broker_every_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.runtime.stack.rabbitmq_found.USUAL", ())
    monkeypatch.setattr("prebook.runtime.stack.container.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("prebook.runtime.stack.apt.possible", lambda: False)
    with pytest.raises(Trouble) as trouble:
        await broker_rung(Mode.AUTO, {"PATH": ""})
    for way in ("apt-get install", "brew install", "Docker", "PREBOOK_STACK=external"):
        assert way in trouble.value.remedy


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "PREBOOK_DATABASE_URL"),
        ({"PREBOOK_DATABASE_URL": "postgresql+asyncpg://u:p@127.0.0.1:1/d"}, "PREBOOK_AMQP_URL"),
    ],
)
async def test_external_parts_that_are_not_given_are_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(Trouble) as trouble:
        async with parts(silent, {"PREBOOK_STACK": "external", **given}):
            pass
    assert named in trouble.value.problem + trouble.value.remedy


def test_a_wrong_mode_is_refused_with_the_right_ones() -> None:
    with pytest.raises(Trouble) as trouble:
        mode({"PREBOOK_STACK": "cloud"})
    assert all(name in trouble.value.remedy for name in Mode)


def test_debians_wrapper_is_passed_over_for_the_real_program(tmp_path: Path) -> None:
    for name in ("rabbitmq-server", "erl", "epmd"):
        (tmp_path / "sbin").mkdir(exist_ok=True)
        (tmp_path / "sbin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "sbin" / name).chmod(0o755)
    found = rabbitmq_found.installation({"RABBITMQ_HOME": str(tmp_path), "PATH": str(tmp_path / "sbin")})
    assert found
    assert found.server == tmp_path / "sbin" / "rabbitmq-server"
    assert Path("/usr/sbin") in rabbitmq_found.WRAPPERS


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(Trouble, match=str(port)) as trouble:
            claim([port], "choose another")
        assert trouble.value.remedy == "choose another"


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))


@pytest.mark.containers
async def test_parts_as_containers_work_and_are_removed() -> None:
    async with parts(silent, {**os.environ, "PREBOOK_STACK": "docker"}) as ready:
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
    monkeypatch.setattr("prebook.runtime.stack.account.reachable", lambda *_: False)
    with data_dir() as data:
        database = WheelPostgres(data, silent)
        try:
            ready = await database.start()
            assert ready.pid
            assert f"{data}/site" in program(ready.pid)
        finally:
            await database.stop()
