"""The command line's client of operations: each failure is a UserError with its reason."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from prebook.cli.parking import operations_client
from prebook.cli.parking.operations_client import stream_operations
from prebook.cli.suite_access import OperationsAccess, current_user
from prebook.devstack.errors import UserError
from prebook.http.operator_guard import OPERATOR_HEADER
from tests.listener import listen

Send = Callable[[str, pytest.MonkeyPatch], Awaitable[Any]]
NO_QUERY: Mapping[str, Any] = {}


async def call(
    url: str, monkeypatch: pytest.MonkeyPatch, body: object = None, query: Mapping[str, Any] = NO_QUERY
) -> dict[str, Any]:
    """Return the document that ``call_operations`` gets from operations at ``url``."""
    monkeypatch.setattr(operations_client, "find_operations", lambda: OperationsAccess(url, "a token"))
    return await operations_client._call(dict[str, Any], "POST", "/v1/things", body, query)


async def stream(url: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the whole body of a streamed response."""
    monkeypatch.setattr(operations_client, "find_operations", lambda: OperationsAccess(url, "a token"))
    return b"".join([chunk async for chunk in stream_operations("/v1/things")])


async def test_query_and_body_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(request: web.Request) -> web.Response:
        kinds = request.query.getall("kind")
        sent = {name: request.headers[name] for name in ("authorization", OPERATOR_HEADER)}
        return web.json_response({"kinds": kinds, "body": await request.json(), "type": request.content_type, **sent})

    monkeypatch.setattr("getpass.getuser", lambda: "an n\u00e9")
    async with listen(handle) as url:
        seen = await call(url, monkeypatch, body={"a": 1}, query={"kind": ["x", "y"]})
    authorization = {"authorization": "Bearer a token", OPERATOR_HEADER: "an_n_"}
    assert seen == {"kinds": ["x", "y"], "body": {"a": 1}, "type": "application/json", **authorization}


@pytest.mark.parametrize("send", [call, stream])
@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [
        (409, '{"detail": "it is being replayed", "code": "busy"}', "it is being replayed"),
        (404, "not here", "operations answered 404"),
        (500, '"\xff', "operations answered 500"),
    ],
)
async def test_an_error_status_is_reported_with_its_detail(
    monkeypatch: pytest.MonkeyPatch, send: Send, status: int, text: str, problem: str
) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, body=text.encode("latin-1"))

    async with listen(handle) as url:
        with pytest.raises(UserError) as failure:
            await send(url, monkeypatch)
    assert failure.value.problem == problem


@pytest.mark.parametrize("send", [call, stream])
async def test_an_unreachable_operations_service_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, send: Send
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError, match=f"operations does not answer: http://127.0.0.1:{port}.*connection refused"):
        await send(f"http://127.0.0.1:{port}", monkeypatch)


async def test_an_export_arrives_in_chunks_and_an_incomplete_one_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"line 1\n")
        await response.write(b"line 2\n")
        if cut:
            assert request.transport
            request.transport.abort()
        return response

    async with listen(handle) as url:
        cut = False
        assert await stream(url, monkeypatch) == b"line 1\nline 2\n"
        cut = True
        with pytest.raises(UserError, match="operations does not answer"):
            await stream(url, monkeypatch)


async def test_a_stalled_export_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    timed_out = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await timed_out.wait()
        return response

    monkeypatch.setattr(operations_client, "REQUEST_TIMEOUT_S", 0.1)
    async with listen(handle) as url:
        with pytest.raises(UserError, match=r"operations does not answer: .*SocketTimeoutError"):
            await stream(url, monkeypatch)
        timed_out.set()


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a container may have a number only."""

    def raise_no_name() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", raise_no_name)
    assert current_user() == f"uid-{os.getuid()}"
