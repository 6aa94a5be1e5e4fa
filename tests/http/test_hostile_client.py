"""The checks of the fuzz tests fail when they must."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.http.hostile_client import Reception, read_statuses, send
from tests.http.request_fuzzer import FuzzCase

CASE = FuzzCase((b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"), "wait")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def serve(respond: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """Run a server that reads a head, calls ``respond`` and reads on to the end; yield its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        respond(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_what_a_server_sends_before_it_closes_is_returned() -> None:
    def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + OK)
        writer.close()

    async with serve(respond) as port:
        reception = await send(port, CASE, timeout_s=60)
    assert not reception.timed_out
    assert read_statuses(CASE, reception.data) == [200, 200]


async def test_a_server_that_keeps_the_connection_open_is_left_after_its_response() -> None:
    async with serve(lambda writer: writer.write(OK)) as port:
        assert await send(port, CASE, timeout_s=0.2) == Reception(OK, timed_out=True)


@pytest.mark.parametrize(
    "received",
    [
        OK + b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\r\nInvalid HTTP request received.",
    ],
)
def test_an_unhandled_error_fails(received: bytes) -> None:
    with pytest.raises(AssertionError, match=r"FuzzCase"):
        read_statuses(CASE, received)
