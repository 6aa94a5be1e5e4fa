"""Requests that a client sends before it has the responses to earlier ones."""

import asyncio
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.params import FromPath

from tests.http.raw_server import HURRIED, serve_raw, wait_until

OK = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow/%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /upload HTTP/1.1\r\nHost: a\r\n"
MANY = 6_000


class Slow:
    """Routes whose responses wait until they are released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.running = 0
        self.most_running = 0

        @get("/slow/{number:int}")
        async def slow(number: FromPath[int]) -> int:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            await self.released.wait()
            self.running -= 1
            return number

        @post("/upload")
        async def upload(request: Request[Any, Any, Any]) -> int:
            return len(await request.body())

        self.routes = [slow, upload]


async def test_responses_come_in_the_order_of_the_requests() -> None:
    slow = Slow()
    async with serve_raw(slow.routes) as server, server.connect() as client:
        await client.send(SLOW % 1 + POST + b"Content-Length: 4\r\n\r\nabcd" + SLOW % 2, SLOW % 3)
        await wait_until(lambda: slow.running)
        slow.released.set()
        responses = await client.receive(4)

    assert [one.body for one in responses] == [b"1", b"4", b"2", b"3"]
    assert slow.most_running == 1


@pytest.mark.parametrize(
    "bad", [b"\x01\x02\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
async def test_a_refusal_waits_for_the_responses_to_earlier_requests(bad: bytes) -> None:
    slow = Slow()
    async with serve_raw(slow.routes) as server, server.connect() as client:
        await client.send(SLOW % 1 + SLOW % 2 + bad)
        await wait_until(lambda: server.refused)
        slow.released.set()
        responses = await client.receive_all()

    assert [one.status for one in responses] == [200, 200, 400]
    assert [one.body for one in responses[:2]] == [b"1", b"2"]


async def test_an_error_of_an_earlier_request_is_not_the_refusal_of_the_next_one() -> None:
    """The rest is parsed while the application still handles the error of the first request."""
    repeated = OK.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n")
    async with serve_raw() as server:
        responses = await server.ask_until_closed(repeated + OK + b"GET /livez HTTP/1.1\r\nX: " + b"a" * 5000 + b"\0")

    assert [one.status for one in responses] == [400, 200, 400]
    assert [responses[0].code, responses[-1].code] == ["repeated_header", "malformed_request"]


async def test_nothing_is_handled_after_connection_close() -> None:
    slow = Slow()
    async with serve_raw(slow.routes) as server, server.connect() as client:
        await client.send(SLOW.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % 1 + SLOW % 2 + b"\x01garbage")
        await wait_until(lambda: slow.running)
        slow.released.set()
        responses = await client.receive_all()

    assert [(one.body, one.headers["connection"]) for one in responses] == [(b"1", "close")]
    assert not server.refused


async def test_a_client_that_pipelines_without_end_waits() -> None:
    """Requests wait in the kernel, not as objects of the process, and all are handled in the end."""
    slow = Slow()
    async with serve_raw(slow.routes) as server, server.connect() as client:
        sending = asyncio.create_task(client.send(SLOW % 0 + OK * MANY))
        await wait_until(lambda: slow.running)
        (connection,) = server.registry._open
        for _ in range(50):
            await asyncio.sleep(0)
            assert len(connection.pipeline) < 200  # type: ignore[attr-defined]
        assert connection.flow.read_paused  # type: ignore[attr-defined]
        slow.released.set()
        await client.receive(1 + MANY)
        await sending
    assert not server.refused


async def test_a_waiting_request_does_not_time_out_while_an_earlier_one_is_handled() -> None:
    slow = Slow()
    async with serve_raw(slow.routes, limits=HURRIED) as server, server.connect() as client:
        await client.send(SLOW % 1 + POST + b"Content-Length: 60000\r\n\r\n", bytes(30_000))
        await wait_until(lambda: server.registry.tick * HURRIED.tick_s > 3 * HURRIED.body_timeout_s)
        slow.released.set()
        await client.send(bytes(30_000))
        responses = await client.receive(2)

    assert [one.body for one in responses] == [b"1", b"60000"]
