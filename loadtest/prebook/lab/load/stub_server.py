"""The least that answers a booking over HTTP: what is left of a measurement with it is the generator itself."""

import asyncio
from contextlib import suppress

BODY = b'{"id":"bk_0"}'
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
END_OF_HEAD, LENGTH = b"\r\n\r\n", b"content-length:"


class Answerer(asyncio.Protocol):
    """One answer for each request with a body of a stated length; no more of HTTP is understood."""

    def __init__(self) -> None:
        self._heard = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (size := whole(self._heard)) and self._transport:
            self._heard = self._heard[size:]
            self._transport.write(ANSWER)


def whole(heard: bytes) -> int:
    """Bytes of the first request; 0 as long as it is not there as a whole."""
    head, found, _ = heard.partition(END_OF_HEAD)
    if not found:
        return 0
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
    size = len(head) + len(END_OF_HEAD) + (int(lengths[0].partition(b":")[2]) if lengths else 0)
    return size if len(heard) >= size else 0


async def serve() -> None:
    """Prints its port, and serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  whoever started it reads this line
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
