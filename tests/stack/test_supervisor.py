import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest

from prebook.runtime.stack.ports import free_ports
from prebook.runtime.stack.trouble import Trouble
from prebook.runtime.supervisor.control import application, listening
from prebook.runtime.supervisor.process import KeptProcess, NotRunning, pause_s
from prebook.runtime.supervisor.spec import Brownout, ProcessSpec, State
from prebook.runtime.supervisor.supervisor import Supervisor
from tests.stack.waiting import is_gone, kernel_state, until

STANDIN = Path(__file__).with_name("standin.py")
TOKEN = "a token for tests"


def spec(tmp_path: Path, *arguments: str, name: str = "standin") -> ProcessSpec:
    (port,) = free_ports(1)
    return ProcessSpec(
        name=name,
        args=(sys.executable, str(STANDIN), str(port), *arguments),
        env=dict(os.environ),
        ready_url=f"http://127.0.0.1:{port}/readyz",
        log=tmp_path / f"{name}.log",
    )


@asynccontextmanager
async def kept(wanted: ProcessSpec) -> AsyncIterator[tuple[Supervisor, KeptProcess]]:
    supervisor = Supervisor([wanted])
    async with supervisor.running():
        await supervisor.ready(15)
        yield supervisor, supervisor.processes[wanted.name]


def pid_of(process: KeptProcess) -> int:
    pid = process.info().pid
    assert pid
    return pid


async def test_a_process_gets_ready_is_measured_and_is_gone_afterwards(tmp_path: Path) -> None:
    async with kept(spec(tmp_path)) as (_, process):
        info = process.info()
        pid = pid_of(process)
        assert info.state is State.RUNNING
        assert info.restarts == 0
        assert info.rss_bytes
        assert 1_000_000 < info.rss_bytes < 200_000_000
        assert await asyncio.to_thread(_says, process.spec.ready_url) == str(pid)
    assert is_gone(pid)
    assert process.state is State.STOPPED


def _says(url: str) -> str:
    with urlopen(url, timeout=5) as answer:  # noqa: S310 - an http URL of this test
        return str(answer.read().decode())


async def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    async with kept(spec(tmp_path)) as (supervisor, process):
        first = pid_of(process)
        os.kill(first, 9)
        await until(lambda: process.info().restarts == 1)
        await supervisor.ready(15)
        assert pid_of(process) != first
        assert process.info().last_status == -9


async def test_a_killed_process_stays_down_as_long_as_wanted(tmp_path: Path) -> None:
    async with kept(spec(tmp_path)) as (_, process):
        clock = asyncio.get_running_loop().time
        began = clock()
        effect = await process.kill(hold_s=1.0)
        assert is_gone(effect.pid)
        await until(lambda: process.state is State.DOWN)
        with pytest.raises(NotRunning):
            await process.kill(hold_s=0)
        await until(lambda: process.info().pid)
        assert clock() - began >= 1.0


async def test_a_brownout_stops_and_wakes_the_process_and_is_undone(tmp_path: Path) -> None:
    async with kept(spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        await process.brown_out(Brownout(for_s=1.0, stopped_s=0.1, running_s=0.1))
        await until(lambda: kernel_state(pid) == "T")
        await until(lambda: kernel_state(pid) == "S")
        await until(lambda: kernel_state(pid) == "T")
        await until(lambda: process.state is State.RUNNING)
        assert kernel_state(pid) in {"S", "R"}


async def test_a_pause_replaces_a_brownout_and_lasts_until_resumed(tmp_path: Path) -> None:
    async with kept(spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        await process.brown_out(Brownout(for_s=60.0, stopped_s=0.05, running_s=0.05))
        await process.pause()
        await until(lambda: kernel_state(pid) == "T")
        await asyncio.sleep(0.3)  # six beats of the brownout, had it gone on
        assert kernel_state(pid) == "T"
        assert process.info().state is State.PAUSED
        await process.resume()
        await until(lambda: kernel_state(pid) in {"S", "R"})
        assert process.info().state is State.RUNNING


@pytest.mark.parametrize("fault", ["pause", "brownout"])
async def test_stopping_undoes_a_fault_so_that_the_process_can_end_in_order(tmp_path: Path, fault: str) -> None:
    async with kept(spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        starve = Brownout(for_s=60.0, stopped_s=5.0, running_s=0.01)
        await (process.pause() if fault == "pause" else process.brown_out(starve))
        await until(lambda: kernel_state(pid) == "T")
    assert is_gone(pid)
    assert process.info().last_status == 0, "SIGTERM was heard"


async def test_what_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.runtime.supervisor.process.GRACE_S", 0.3)
    async with kept(spec(tmp_path, "--deaf")) as (_, process):
        pid = pid_of(process)
    assert is_gone(pid)


async def test_wrong_settings_are_reported_with_the_last_words_and_not_tried_again(tmp_path: Path) -> None:
    supervisor = Supervisor([spec(tmp_path, "--status", "2")])
    async with supervisor.running():
        with pytest.raises(Trouble, match="wrong settings"):
            await supervisor.ready(15)
        given_up = supervisor.given_up()
        assert given_up
        assert given_up.info().restarts == 0


async def test_a_crash_loop_is_reported_before_the_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor([spec(tmp_path, "--status", "1")])
    async with supervisor.running():
        with pytest.raises(Trouble, match="ended instead of getting ready"):
            await supervisor.ready(60)


def test_pauses_double_up_to_five_seconds() -> None:
    assert [pause_s(n) for n in (0, 1, 2, 3, 5, 6, 60)] == [0.2, 0.2, 0.4, 0.8, 3.2, 5.0, 5.0]


@asynccontextmanager
async def controlled(tmp_path: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, KeptProcess]]:
    (port,) = free_ports(1)
    async with (
        kept(spec(tmp_path)) as (supervisor, process),
        listening(application(supervisor, TOKEN), "127.0.0.1", port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client, process


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
async def test_nobody_without_the_token(tmp_path: Path, given: dict[str, str]) -> None:
    async with controlled(tmp_path) as (client, process):
        pid = pid_of(process)
        for call in (client.get("/processes", headers=given), client.post("/processes/standin/kill", headers=given)):
            async with call as answer:
                assert answer.status == 401
                assert answer.content_type == "application/problem+json"
        assert not is_gone(pid)


async def test_a_kill_names_the_process_and_the_new_one_shows_up(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with controlled(tmp_path) as (client, process):
        before = pid_of(process)
        async with client.post("/processes/standin/kill", headers=bearer, json={"hold_s": 0.2}) as answer:
            assert await answer.json() == {"name": "standin", "fault": "kill", "pid": before, "for_s": 0.2}
        await until(lambda: process.state is State.RUNNING)
        async with client.get("/processes", headers=bearer) as answer:
            (told,) = await answer.json()
        assert told["pid"] not in {None, before}
        assert told["restarts"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/processes/nobody/kill", "{}", 404),
        ("/processes/standin/melt", "{}", 404),
        ("/processes/standin/kill", '{"hold_s": -1}', 400),
        ("/processes/standin/kill", '{"hold": 1}', 400),
        ("/processes/standin/kill", "{", 400),
        ("/processes/standin/brownout", "{}", 400),
        ("/processes/standin/brownout", '{"for_s": 1e9}', 400),
        ("/elsewhere", "{}", 404),
    ],
)
async def test_what_cannot_be_done_is_refused(
    tmp_path: Path, bearer: dict[str, str], path: str, body: str, status: int
) -> None:
    async with controlled(tmp_path) as (client, process):
        pid = pid_of(process)
        async with client.post(path, headers=bearer, data=body) as answer:
            assert answer.status == status
            assert (await answer.json(content_type="application/problem+json"))["detail"]
        assert kernel_state(pid) in {"S", "R"}


def test_a_control_api_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        application(Supervisor([]), "")


async def test_a_taken_control_port_is_said(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    app = application(Supervisor([]), TOKEN)
    async with listening(app, "127.0.0.1", port):
        with pytest.raises(Trouble, match=str(port)):
            async with listening(application(Supervisor([]), TOKEN), "127.0.0.1", port):
                pass
