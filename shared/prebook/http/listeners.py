"""Two listeners of one process: a public one for riders or operators, and an internal one for services and tools."""

import socket
from typing import Any

from litestar.types import ASGIApp


class ListenerApp:
    """ASGI application that serves the public or the internal application, by the port at which a request arrived.

    Only a connection to the internal port reaches the internal application.
    """

    def __init__(self, public: ASGIApp, internal: ASGIApp, internal_port: int) -> None:
        """``public`` has the lifespan of the process."""
        self._public = public
        self._internal = internal
        self._internal_port = internal_port

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection. The server takes its address from the socket, not from the request."""
        is_internal = scope["type"] != "lifespan" and scope["server"][1] == self._internal_port
        await (self._internal if is_internal else self._public)(scope, receive, send)


def bind_listener(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address and does not listen yet. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
