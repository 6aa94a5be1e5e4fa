"""The control API of the supervisor: authentication, faults, and errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.supervisor.contract import ProcessState
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api, token_digest
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.supervisor import Supervisor
from tests.devstack.polling import is_gone, kernel_state, wait_until
from tests.devstack.supervised import pid_of, stub_spec, supervise

TOKEN = "a token for tests"
JSON_HEADERS = {"Content-Type": "application/json"}


@asynccontextmanager
async def open_control(tmp_path: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, SupervisedProcess]]:
    """Serve the control API of a supervised stub; yield a client without token, and the stub."""
    (port,) = allocate_ports(1)
    async with (
        supervise(stub_spec(tmp_path)) as (supervisor, process),
        serve_control_api(create_control_app(supervisor, token_digest(TOKEN)), "127.0.0.1", port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client, process


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("values", "status"),
    [((), 401), (("Bearer wrong",), 401), ((TOKEN,), 401), ((f"Bearer {TOKEN}", "Bearer wrong"), 400)],
)
async def test_a_request_without_the_token_is_refused(tmp_path: Path, values: tuple[str, ...], status: int) -> None:
    authorization = [("Authorization", value) for value in values]
    async with open_control(tmp_path) as (client, process):
        pid = pid_of(process)
        for call in (
            client.get("/processes", headers=authorization),
            client.post("/processes/stub/kill", headers=authorization),
        ):
            async with call as response:
                assert response.status == status
                assert response.content_type == "application/problem+json"
        assert not is_gone(pid)


GET = b"GET /processes HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed_request"),
        (b"GET /processes HTTP/1.1\r\n\r\n", 400, "missing_host"),
        (b"GET /processes HTTP/2.0\r\nHost: a\r\n\r\n", 505, "unsupported_version"),
        (GET + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed_request"),
        (GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431, "head_too_large"),
        (GET + b"\r\n", 401, "unauthorized"),
    ],
)
async def test_bytes_that_are_no_request_get_a_problem_document(
    tmp_path: Path, request_bytes: bytes, status: int, code: str
) -> None:
    async with open_control(tmp_path) as (client, _):
        url = client._base_url
        assert url is not None
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request_bytes)
        response = await asyncio.wait_for(reader.readuntil(b"}"), 30)
        writer.close()
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in response.lower()
    assert f'"code":"{code}"'.encode() in response


async def test_a_kill_returns_the_old_process_and_lists_the_new_one(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with open_control(tmp_path) as (client, process):
        before = pid_of(process)
        async with client.post("/processes/stub/kill", headers=bearer, json={"down_s": 0.2}) as response:
            assert await response.json() == {"name": "stub", "fault": "kill", "pid": before, "duration_s": 0.2}
        await wait_until(lambda: process.state is ProcessState.RUNNING)
        async with client.get("/processes", headers=bearer) as response:
            (info,) = await response.json()
        assert info["pid"] not in {None, before}
        assert info["restarts"] == 1


async def test_a_crash_message_is_armed_and_disarmed(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with open_control(tmp_path) as (client, process):
        for message_id, restarts in (("poison-1.notify_rider", 1), (None, 2)):
            path = "/processes/stub/crash_message"
            async with client.post(path, headers=bearer, json={"message_id": message_id}) as response:
                assert response.status == 200
            await wait_until(lambda: process.info().restarts == restarts)  # noqa: B023 - awaited within the loop
            await wait_until(lambda: process.state is ProcessState.RUNNING)
            environment = psutil.Process(pid_of(process)).environ()
            assert environment.get("PREBOOK_CRASH_MESSAGE_ID") == message_id


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/processes/nobody/kill", "{}", 404),
        ("/processes/stub/melt", "{}", 404),
        ("/processes/stub/kill", '{"down_s": -1}', 400),
        ("/processes/stub/kill", '{"down": 1}', 400),
        ("/processes/stub/kill", "{", 400),
        ("/processes/stub/kill", b'{"\xff": 1}', 400),
        ("/processes/stub/brownout", "{}", 400),
        ("/processes/stub/brownout", '{"duration_s": 1e9}', 400),
        ("/processes/stub/skew", '{"skew_s": "fast"}', 400),
        ("/processes/stub/crash_message", "{}", 400),
        ("/processes/stub/crash_message", '{"message_id": ""}', 400),
        ("/processes/stub/crash_message", '{"message_id": "two words"}', 400),
        ("/processes/stub/crash_message", '{"message_id": "nul\\u0000"}', 400),
        ("/processes/stub/crash_message", f'{{"message_id": "{"x" * 256}"}}', 400),
        ("/servers/broker/restart", '{"shutdown": "kill"}', 404),
        ("/elsewhere", "{}", 404),
    ],
)
async def test_an_invalid_command_is_refused_without_effect(
    tmp_path: Path, bearer: dict[str, str], path: str, body: str | bytes, status: int
) -> None:
    async with open_control(tmp_path) as (client, process):
        pid = pid_of(process)
        async with client.post(path, headers={**bearer, **JSON_HEADERS}, data=body) as response:
            assert response.status == status
            assert (await response.json(content_type="application/problem+json"))["detail"]
        assert kernel_state(pid) in {"S", "R"}


async def test_a_body_that_is_not_json_is_refused_without_effect(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with open_control(tmp_path) as (client, process):
        pid = pid_of(process)
        async with client.post("/processes/stub/kill", headers=bearer, data='{"down_s": 0.1}') as response:
            assert response.status == 415
            assert (await response.json(content_type="application/problem+json"))["detail"]
        assert kernel_state(pid) in {"S", "R"}


@pytest.mark.parametrize("path", ["/servers", "/proxies"])
async def test_a_suite_without_servers_and_proxies_lists_none(
    tmp_path: Path, bearer: dict[str, str], path: str
) -> None:
    async with open_control(tmp_path) as (client, _), client.get(path, headers=bearer) as response:
        assert await response.json() == []


def test_a_control_api_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        create_control_app(Supervisor([]), "")


async def test_the_digest_of_the_token_is_no_token(tmp_path: Path) -> None:
    """The service, which may read it, must not control its supervisor with it."""
    authorization = {"Authorization": f"Bearer {token_digest(TOKEN)}"}
    async with open_control(tmp_path) as (client, _), client.get("/processes", headers=authorization) as response:
        assert response.status == 401


async def test_a_control_port_in_use_is_reported(tmp_path: Path) -> None:
    (port,) = allocate_ports(1)
    app = create_control_app(Supervisor([]), token_digest(TOKEN))
    async with serve_control_api(app, "127.0.0.1", port):
        with pytest.raises(UserError, match=str(port)):
            async with serve_control_api(create_control_app(Supervisor([]), token_digest(TOKEN)), "127.0.0.1", port):
                pass
