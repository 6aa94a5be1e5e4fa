"""A server beside a control loop, as in a container: ended, restarted and looked after by the real loop."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prebook.devstack import remote_server
from prebook.devstack.errors import UserError
from prebook.devstack.remote_server import ControlLoop, RemoteBroker
from prebook.devstack.supervisor.contract import Restart, ServerState, ShutdownMode
from prebook.devstack.supervisor.server import SupervisedServer
from tests.devstack.polling import is_gone, wait_until

LOOP = Path(__file__).parents[2] / "deploy" / "container" / "supervise-server"
SERVER = """
trap 'echo stopped >>"$LOG"; exit 0' TERM
echo started >>"$LOG"
while :; do sleep 0.05; done
"""
RABBITMQCTL = """#!/bin/bash
echo "$*" >>"$LOG"
[[ $* != *refused* ]]
"""


@dataclass(frozen=True)
class Running:
    """A control loop and its server."""

    loop: ControlLoop
    process: asyncio.subprocess.Process
    log: Path

    def events(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def require_pid(self) -> int:
        pid = self.loop.read_pid()
        assert pid
        return pid


@asynccontextmanager
async def run_loop(home: Path, script: str = SERVER, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    programs = home / "bin"
    programs.mkdir()
    (programs / "rabbitmqctl").write_text(RABBITMQCTL)
    (programs / "rabbitmqctl").chmod(0o700)
    own = {"PREBOOK_CONTROL_FOLDER": str(home), "LOG": str(home / "log"), "MEMORY_WATERMARK": "300MB"}
    path = f"{programs}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        LOOP, "broker", "TERM", "bash", "-c", script, env={**own, "PATH": path, **(env or {})}
    )
    running = Running(ControlLoop(home / "broker"), process, home / "log")
    try:
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def supervise(running: Running) -> SupervisedServer:
    return SupervisedServer("broker", "4.0", RemoteBroker(running.loop, _always_ready))


async def _always_ready() -> bool:
    return True


async def _wait_until_started(running: Running, times: int = 1) -> None:
    await wait_until(lambda: running.events().count("started") == times)


@pytest.mark.parametrize("shutdown", list(ShutdownMode))
async def test_a_server_is_ended_and_comes_back(tmp_path: Path, shutdown: ShutdownMode) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        server = supervise(running)
        before = server.info()
        effect = await server.restart(Restart(shutdown, down_s=0.3))
        assert server.info().state is ServerState.DOWN
        await wait_until(lambda: is_gone(effect.pid))
        await wait_until(lambda: server.info().state is ServerState.RUNNING)
        await _wait_until_started(running, 2)
        assert (before.pid, server.info().restarts) == (effect.pid, 1)
        assert server.info().pid not in {None, effect.pid}
        assert ("stopped" in running.events()) is (shutdown is ShutdownMode.STOP)
        await server.close()


async def test_a_server_that_nobody_starts_again_comes_back_by_itself(tmp_path: Path) -> None:
    async with run_loop(tmp_path, env={"MAX_DOWN_S": "1"}) as running:
        await _wait_until_started(running)
        running.loop.send("kill")
        await _wait_until_started(running, 2)


async def test_a_server_that_ends_by_itself_ends_its_container(tmp_path: Path) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        os.kill(running.require_pid(), signal.SIGKILL)
        assert await running.process.wait() == 128 + signal.SIGKILL


async def test_a_start_that_fails_at_first_is_repeated(tmp_path: Path) -> None:
    """A killed database refuses to start while its last processes hold its shared memory."""
    script = f'echo try >>"$LOG"; (( $(grep -c try "$LOG") == 2 )) && exit 1\n{SERVER}'
    async with run_loop(tmp_path, script) as running:
        await _wait_until_started(running)
        await running.loop.call("kill")
        await running.loop.call("start")
        await _wait_until_started(running, 2)
        assert running.events().count("try") == 3


async def test_a_stopped_container_stops_its_server(tmp_path: Path) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        running.process.terminate()
        assert await running.process.wait() == 0
        assert running.events() == ["started", "stopped"]


async def test_the_memory_watermark_is_set_and_restored(tmp_path: Path) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        broker = RemoteBroker(running.loop, _always_ready)
        await broker.set_memory_watermark("1MB")
        await broker.set_memory_watermark(None)
        assert running.events()[1:] == [
            "-q set_vm_memory_high_watermark absolute 1MB",
            "-q set_vm_memory_high_watermark absolute 300MB",
        ]
        with pytest.raises(UserError, match="ended with status 1"):
            await broker.set_memory_watermark("refused")


async def test_a_request_that_arrives_in_parts_is_carried_out(tmp_path: Path) -> None:
    """The loop of a busy machine may stop reading in the middle of a line."""
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        requests = os.open(tmp_path / "broker" / "requests", os.O_WRONLY)
        for part in (b"id1 ki", b"ll\nid2 sta", b"rt\n"):
            os.write(requests, part)
            await asyncio.sleep(0.8)  # longer than one read of the loop
        os.close(requests)
        await _wait_until_started(running, 2)


async def test_only_the_user_of_the_console_may_send_requests(tmp_path: Path) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        mode = (tmp_path / "broker" / "requests").stat().st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("request_words", [("reboot",), ("start",)])
async def test_a_request_that_cannot_be_carried_out_is_refused(tmp_path: Path, request_words: tuple[str, ...]) -> None:
    async with run_loop(tmp_path) as running:
        await _wait_until_started(running)
        with pytest.raises(UserError, match=f"`{request_words[0]}` ended with status"):
            await running.loop.call(*request_words)


async def test_a_missing_loop_is_an_error_with_a_hint(tmp_path: Path) -> None:
    loop = ControlLoop(tmp_path / "broker")
    assert RemoteBroker(loop, _always_ready).child is None
    with pytest.raises(UserError, match="no control loop reads requests") as caught:
        loop.send("kill")
    assert caught.value.remedy == remote_server.LOOP_REMEDY
