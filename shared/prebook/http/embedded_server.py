"""HTTP server on the event loop of a program that has other work, and ends when that ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator

import uvicorn
from litestar.types import ASGIApp

from prebook.http.connections import Connections, HttpLimits
from prebook.http.listeners import bind_listener
from prebook.http.server_protocol import serve_with

MAX_CONNECTIONS = 64
KEEP_ALIVE_S = 75
"""Seconds between two requests on a connection: more than its clients pause, so that none meets its end."""
SHUTDOWN_TIMEOUT_S = 1
"""Seconds for open requests at the end."""


class _EmbeddedServer(uvicorn.Server):
    """A server that leaves signals to its program. ``listens`` is set once it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def serve_embedded(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application, with the limits of every server, while the block runs.

    Raises OSError if the address is taken.
    """
    listener = bind_listener(host, port)
    config = uvicorn.Config(
        app,
        http=serve_with(Connections(HttpLimits(max_connections=MAX_CONNECTIONS))),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        lifespan="off",
    )
    server = _EmbeddedServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.listens.wait()
        yield
    finally:
        server.should_exit = True
        await task
