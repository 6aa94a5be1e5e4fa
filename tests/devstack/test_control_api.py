from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.supervisor.contract import ProcessState
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.supervisor import Supervisor
from tests.devstack.polling import is_gone, kernel_state, wait_until
from tests.devstack.supervised import kept, pid_of, spec

TOKEN = "a token for tests"


@asynccontextmanager
async def open_control(tmp_path: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, SupervisedProcess]]:
    (port,) = allocate_ports(1)
    async with (
        kept(spec(tmp_path)) as (supervisor, process),
        serve_control_api(create_control_app(supervisor, TOKEN), "127.0.0.1", port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client, process


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
async def test_nobody_without_the_token(tmp_path: Path, given: dict[str, str]) -> None:
    async with open_control(tmp_path) as (client, process):
        pid = pid_of(process)
        for call in (client.get("/processes", headers=given), client.post("/processes/stub/kill", headers=given)):
            async with call as answer:
                assert answer.status == 401
                assert answer.content_type == "application/problem+json"
        assert not is_gone(pid)


async def test_a_kill_names_the_process_and_the_new_one_shows_up(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with open_control(tmp_path) as (client, process):
        before = pid_of(process)
        async with client.post("/processes/stub/kill", headers=bearer, json={"down_s": 0.2}) as answer:
            assert await answer.json() == {"name": "stub", "fault": "kill", "pid": before, "duration_s": 0.2}
        await wait_until(lambda: process.state is ProcessState.RUNNING)
        async with client.get("/processes", headers=bearer) as answer:
            (told,) = await answer.json()
        assert told["pid"] not in {None, before}
        assert told["restarts"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/processes/nobody/kill", "{}", 404),
        ("/processes/stub/melt", "{}", 404),
        ("/processes/stub/kill", '{"down_s": -1}', 400),
        ("/processes/stub/kill", '{"down": 1}', 400),
        ("/processes/stub/kill", "{", 400),
        ("/processes/stub/brownout", "{}", 400),
        ("/processes/stub/brownout", '{"duration_s": 1e9}', 400),
        ("/processes/stub/skew", '{"skew_s": "fast"}', 400),
        ("/servers/broker/restart", '{"shutdown": "kill"}', 404),
        ("/elsewhere", "{}", 404),
    ],
)
async def test_what_cannot_be_done_is_refused(
    tmp_path: Path, bearer: dict[str, str], path: str, body: str, status: int
) -> None:
    async with open_control(tmp_path) as (client, process):
        pid = pid_of(process)
        async with client.post(path, headers=bearer, data=body) as answer:
            assert answer.status == status
            assert (await answer.json(content_type="application/problem+json"))["detail"]
        assert kernel_state(pid) in {"S", "R"}


@pytest.mark.parametrize("others", ["/servers", "/proxies"])
async def test_what_is_not_there_is_not_told_of(tmp_path: Path, bearer: dict[str, str], others: str) -> None:
    async with open_control(tmp_path) as (client, _), client.get(others, headers=bearer) as answer:
        assert await answer.json() == []


def test_a_control_api_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        create_control_app(Supervisor([]), "")


async def test_a_taken_control_port_is_said(tmp_path: Path) -> None:
    (port,) = allocate_ports(1)
    app = create_control_app(Supervisor([]), TOKEN)
    async with serve_control_api(app, "127.0.0.1", port):
        with pytest.raises(UserError, match=str(port)):
            async with serve_control_api(create_control_app(Supervisor([]), TOKEN), "127.0.0.1", port):
                pass
