"""ManagementClient against servers that refuse, fail or are no broker: each failure is one of its two errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from prebook.devstack.broker.probe import BrokerProbe
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.topology.model import suite_topology
from tests.listener import listen

Call = Callable[[ManagementClient], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "declare": lambda client: client.declare(suite_topology({1.0}), {}),
    "read_live_broker": lambda client: client.read_live_broker(),
    "read_version": lambda client: client.read_version(),
    "count_running_nodes": lambda client: client.count_running_nodes(),
    "check_listener": lambda client: client.check_listener(5672),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@asynccontextmanager
async def answering(response: Callable[[], web.Response]) -> AsyncIterator[ManagementClient]:
    """A client of a server that gives the same response to every request."""

    async def answer(_: web.Request) -> web.Response:
        return response()

    async with listen(answer) as url, ManagementClient(url, "admin", "secret") as client:
        yield client


@asynccontextmanager
async def sending(data: bytes) -> AsyncIterator[str]:
    """A server that sends ``data`` in reply to a request and closes the connection; yields its URL."""

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())


@each_call
@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda: web.Response(status=401), "wrong user or password"),
        (lambda: web.json_response({"error": "Object Not Found", "reason": "no such vhost"}, status=404), "no such"),
        (lambda: web.Response(status=500, text="<h1>crashed</h1>"), "500 <h1>crashed</h1>"),
    ],
    ids=["401", "404", "500"],
)
async def test_an_error_status_is_a_refusal(call: Call, response: Callable[[], web.Response], words: str) -> None:
    async with answering(response) as client:
        with pytest.raises(BrokerRefused, match=words):
            await call(client)


@each_call
@pytest.mark.parametrize("text", ["<html></html>", "", "{", "3"])
async def test_a_document_that_is_no_json_of_the_api_is_no_broker(call: Call, text: str) -> None:
    async with answering(lambda: web.Response(text=text)) as client:
        with pytest.raises(BrokerUnreachable, match="no RabbitMQ management API"):
            await call(client)


@each_call
@pytest.mark.parametrize(
    "data",
    [b"", b"220 smtp.example ready\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"],
    ids=["closed", "no HTTP", "cut short"],
)
async def test_a_connection_without_a_response_is_no_broker(call: Call, data: bytes) -> None:
    async with sending(data) as url, ManagementClient(url, "admin", "secret") as client:
        with pytest.raises(BrokerUnreachable, match=f"no broker at {url} .*is it up"):
            await call(client)


async def test_a_response_that_never_comes_is_no_broker() -> None:
    timed_out = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await timed_out.wait()
        return web.json_response({})

    async with listen(answer) as url, ManagementClient(url, "admin", "secret", request_timeout_s=0.1) as client:
        with pytest.raises(BrokerUnreachable, match="TimeoutError"):
            await client.read_version()
        timed_out.set()


@pytest.mark.parametrize("url", ["http://[", "127.0.0.1:15672", "ftp://127.0.0.1", "http://127.0.0.1:1"])
async def test_an_address_without_a_broker_is_reported(url: str) -> None:
    async with ManagementClient(url, "admin", "secret") as client:
        with pytest.raises(BrokerUnreachable, match="no broker at"):
            await client.read_version()


def broker_app(*, running: int = 1, listener_status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A cluster of three nodes."""
    documents = {
        "/api/overview": {"rabbitmq_version": "4.2.0"},
        "/api/nodes": [{"name": f"rabbit-{number}", "running": number < running} for number in range(3)],
    }

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/api/health/checks/port-listener/5672":
            return web.json_response({"reason": "No active listener"}, status=listener_status)
        return web.json_response(documents[request.path])

    return answer


async def test_a_probe_finds_the_version_of_a_broker_that_is_ready() -> None:
    async with listen(broker_app(running=2)) as url:
        probe = BrokerProbe(url, "admin", "secret", amqp_port=5672, min_nodes=2)
        assert await probe.is_ready()
    assert probe.version == "4.2.0"


async def test_a_probe_waits_for_enough_nodes_and_for_the_listener() -> None:
    async with listen(broker_app(running=1)) as url:
        assert not await BrokerProbe(url, "admin", "secret", min_nodes=2).is_ready()
    async with listen(broker_app(listener_status=503)) as url:
        probe = BrokerProbe(url, "admin", "secret", amqp_port=5672)
        assert not await probe.is_ready()
    assert "No active listener" in probe.error


async def test_a_probe_keeps_the_reason_why_no_broker_answers() -> None:
    probe = BrokerProbe("http://127.0.0.1:1", "admin", "secret")
    assert not await probe.is_ready()
    assert "no broker at http://127.0.0.1:1" in probe.error
