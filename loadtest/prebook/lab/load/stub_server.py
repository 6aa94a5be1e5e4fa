"""The least that answers a booking over HTTP: what is left of a measurement with it is the generator itself."""

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
    """One answer for each request with a body of a stated length; no more of HTTP is understood."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (size := request_size(self._received)) and self._transport:
            self._received = self._received[size:]
            self._transport.write(RESPONSE)


def request_size(received: bytes) -> int:
    """Bytes of the first request; 0 as long as it is not there as a whole."""
    head, found, _ = received.partition(END_OF_HEAD)
    if not found:
        return 0
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(CONTENT_LENGTH)]
    size = len(head) + len(END_OF_HEAD) + (int(lengths[0].partition(b":")[2]) if lengths else 0)
    return size if len(received) >= size else 0


async def serve() -> None:
    """Prints its port, and serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(StubServerProtocol, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  whoever started it reads this line
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
