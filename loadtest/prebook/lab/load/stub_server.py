"""Minimal HTTP server that accepts every booking request, so that a measurement shows the generator alone."""

import asyncio
from contextlib import suppress

RESPONSE_BODY = b'{"id":"bk_0"}'
RESPONSE = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(RESPONSE_BODY),
    RESPONSE_BODY,
)
END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = b"content-length:"


class StubServerProtocol(asyncio.Protocol):
    """Sends one fixed response per request. It understands Content-Length and nothing else of HTTP."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for responses."""
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        """Respond to every request that is now complete."""
        self._received += data
        while (size := request_size(self._received)) and self._transport:
            self._received = self._received[size:]
            self._transport.write(RESPONSE)


def request_size(received: bytes) -> int:
    """Return the size of the first request in bytes, or 0 while it is incomplete."""
    head, found, _ = received.partition(END_OF_HEAD)
    if not found:
        return 0
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(CONTENT_LENGTH)]
    size = len(head) + len(END_OF_HEAD) + (int(lengths[0].partition(b":")[2]) if lengths else 0)
    return size if len(received) >= size else 0


async def serve() -> None:
    """Listen on a free port, print it, and serve until the process is terminated."""
    server = await asyncio.get_running_loop().create_server(StubServerProtocol, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  the starting process reads this line
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
