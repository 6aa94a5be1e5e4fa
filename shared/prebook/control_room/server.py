"""HTTP server of the control room, inside of the console's process and on its event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator

import uvicorn
from litestar.types import ASGIApp

from prebook.devstack.errors import UserError
from prebook.http.connections import Connections, HttpLimits
from prebook.http.listeners import bind_listener
from prebook.http.server_protocol import serve_with

MAX_CONNECTIONS = 64
SHUTDOWN_TIMEOUT_S = 1
"""Seconds for open requests; streams end at once, as their feed is closed before."""


class _EmbeddedServer(uvicorn.Server):
    """A server that leaves signals to the console, which has work of its own to end.

    ``listens`` is set once it accepts connections.
    """

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
async def serve_page(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application while the block runs. Raises UserError if the port is taken."""
    try:
        listener = bind_listener(host, port)
    except OSError as error:
        remedy = "choose other ports with --port-base"
        raise UserError(f"the control room cannot listen on {host}:{port}: {error.strerror}", remedy) from error
    config = uvicorn.Config(
        app,
        http=serve_with(Connections(HttpLimits(max_connections=MAX_CONNECTIONS))),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
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
