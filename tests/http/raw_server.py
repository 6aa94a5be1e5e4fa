"""A server on a socket of this process, and a client that sends bytes to it as they are."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httptools
import uvicorn

from prebook.http.connections import Connections, HttpLimits
from prebook.http.server_protocol import serve_with
from prebook.testing.http import create_ready_app

TIMEOUT_S = 60.0
"""Seconds after which a test gives up: far more than any machine needs."""
LIMITS = HttpLimits(max_connections=100, tick_s=0.05)
HURRIED = replace(LIMITS, head_timeout_s=0.3, body_timeout_s=0.3, write_timeout_s=0.3, linger_s=0.3)


@dataclass
class RawResponse:
    """A response as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    @property
    def code(self) -> str:
        """Code of the problem document, which the response must be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = json.loads(self.body)
        assert (problem["status"], len(problem["trace_id"])) == (self.status, 32)
        return str(problem["code"])


class ResponseReader:
    """Parses what a server sends into responses."""

    def __init__(self) -> None:
        self.responses: list[RawResponse] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raises an error if they are not the continuation of a response."""
        self._parser.feed_data(data)

    @property
    def completed(self) -> int:
        """Number of complete responses, those of status 1xx included."""
        return sum(response.complete for response in self.responses)

    def on_message_begin(self) -> None:
        self.responses.append(RawResponse())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.responses[-1].headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.responses[-1].status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.responses[-1].body += body

    def on_message_complete(self) -> None:
        self.responses[-1].complete = True


class RawClient:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.parsed = ResponseReader()

    async def send(self, *segments: bytes) -> None:
        """Send each segment in a packet of its own, as far as TCP allows it."""
        for segment in segments:
            self._writer.write(segment)
            await self._writer.drain()
            for _ in range(5):
                await asyncio.sleep(0)

    async def receive(self, count: int = 1) -> list[RawResponse]:
        """Return the next ``count`` responses."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.parsed.completed < count:
                data = await self._reader.read(65536)
                assert data, f"closed after {self.parsed.responses}"
                self.parsed.feed(data)
        responses, self.parsed.responses = self.parsed.responses, []
        return responses

    async def receive_all(self) -> list[RawResponse]:
        """Return all responses until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT_S):
            while data := await self._reader.read(65536):
                self.parsed.feed(data)
        return self.parsed.responses

    async def wait_closed(self) -> None:
        """Wait until the server has closed or reset the connection."""
        with suppress(ConnectionError):
            await self.receive_all()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass
class RawServer:
    """The server: its port, its connections and what it refused."""

    port: int
    registry: Connections
    refused: Counter[str]

    @asynccontextmanager
    async def connect(self, receive_buffer: int = 0, source: str = "127.0.0.1") -> AsyncIterator[RawClient]:
        """Open a connection from the address ``source``, with a receive buffer of that many bytes if given."""
        client = socket.socket()
        client.bind((source, 0))
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        raw = RawClient(*await asyncio.open_connection(sock=client, limit=1024))
        try:
            yield raw
        finally:
            raw.close()

    async def ask(self, *segments: bytes, count: int = 1) -> list[RawResponse]:
        """Send segments on a new connection, and return ``count`` responses."""
        async with self.connect() as client:
            await client.send(*segments)
            return await client.receive(count)

    async def ask_until_closed(self, *segments: bytes) -> list[RawResponse]:
        """Send segments on a new connection, and return all responses, once the server has closed it."""
        async with self.connect() as client:
            await client.send(*segments)
            return await client.receive_all()

    @property
    def open_connections(self) -> int:
        """Connections that the server has."""
        return len(self.registry._open)


@asynccontextmanager
async def serve_raw(
    routes: Sequence[Any] = (),
    limits: HttpLimits = LIMITS,
    app: Any = None,
    keep_alive_s: int = 75,
    is_proxy: Callable[[str], bool] = lambda _: False,
) -> AsyncIterator[RawServer]:
    """Serve ``app``, or an application with ``routes`` that is ready, on a free port of this machine."""
    refused: Counter[str] = Counter()
    registry = Connections(limits, lambda code: refused.update([code]), is_proxy=is_proxy)
    config = uvicorn.Config(
        app or create_ready_app("stub", routes),
        http=serve_with(registry),
        log_config=None,
        lifespan="off",
        timeout_keep_alive=keep_alive_s,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await wait_until(lambda: server.started)
        try:
            yield RawServer(listener.getsockname()[1], registry, refused)
        except BaseException:
            server.force_exit = True
            raise
        finally:
            server.should_exit = True
            await task


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` returns a true value."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)
