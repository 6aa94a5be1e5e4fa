"""The HTTP client over aiohttp's transport: TLS, and the reasons of failures."""

import asyncio
import errno
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trustme

from prebook.http import client as http_client
from prebook.http.client import ServiceClient, create_http_client, create_transport, limit_exchange
from prebook.messaging.errors import Undeliverable, Unreachable

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections on a free local port and close them; yields host and port."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.create_task(handle(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    await asyncio.gather(*handlers)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[ServiceClient]:
    """A client whose service ``provider`` is at ``url``."""
    client = ServiceClient({"provider": url})
    try:
        yield client
    finally:
        await client.close()


async def reply_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


async def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with listening(reply_ok, tls) as address, calling(f"https://{address}") as client:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.request("GET", "provider", "/", headers={}, timeout_s=5.0)


CALL_OVER_TLS = """
import asyncio, sys
from prebook.http.client import create_http_client

async def call():
    async with create_http_client() as client:
        print((await client.get(sys.argv[1])).status_code)

asyncio.run(call())
"""


async def test_a_certificate_of_a_known_authority_is_accepted(tmp_path: Path) -> None:
    """The request runs in its own process, because the authorities of the system are read once per process."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authorities.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    env = {**os.environ, "SSL_CERT_FILE": str(tmp_path / "authorities.pem")}
    async with listening(reply_ok, tls) as address:
        command = (sys.executable, "-c", CALL_OVER_TLS, f"https://{address}")
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    assert output.decode().strip() == "200"


async def test_no_transport_loads_certificate_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading them takes tens of milliseconds of the event loop, and a callback to a rider has its own client."""

    def refuse(*_: object, **__: object) -> ssl.SSLContext:
        raise AssertionError("certificate authorities loaded")

    monkeypatch.setattr(ssl, "create_default_context", refuse)
    transport = create_transport()
    async with listening(reply_ok) as address, create_http_client() as client:
        assert (await client.get(f"http://{address}")).status_code == 200
    await transport.aclose()


@contextmanager
def listening_without_accepting() -> Iterator[str]:
    """A port whose queue of connections is full: the kernel drops every further attempt; yields host and port."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.create_connection(server.getsockname()):
        host, port = server.getsockname()[:2]
        yield f"{host}:{port}"


async def failure_of(address: str, timeout_s: float = 5.0) -> Unreachable:
    """The error of one call to the server at ``address``."""
    async with calling(f"http://{address}") as client:
        with pytest.raises(Unreachable) as failure:
            await client.request("GET", "provider", "/", headers={}, timeout_s=timeout_s)
    return failure.value


async def test_a_connection_that_is_not_made_in_time_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "CONNECT_TIMEOUT", {"timeout": {"connect": 0.1}})
    with listening_without_accepting() as address:
        failure = await failure_of(address)
    assert failure.reason == "timeout"
    assert "Connection timeout" in str(failure)


async def test_a_refused_connection_is_named_as_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()[:2]
    failure = await failure_of(f"{host}:{port}")
    assert failure.reason == "unreachable"
    assert "connection refused" in str(failure)
    assert "Timeout" not in str(failure)


async def test_an_unknown_host_is_named_as_one() -> None:
    failure = await failure_of("no-such-host.invalid:80")
    assert failure.reason == "unreachable"
    assert "no-such-host.invalid" in str(failure)
    assert "Timeout" not in str(failure)


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n.", b"HTTP/1.1 200 OK\r\n"], ids=len
)
@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_lost_in_a_response_is_unreachable(sent: bytes, *, reset: bool) -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)  # close with RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async with listening(lose) as address:
        failure = await failure_of(address)
    assert failure.reason == "unreachable"
    assert "Timeout" not in str(failure)


async def test_a_response_that_is_no_http_is_unreachable() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.example ready\r\n\r\n")

    async with listening(babble) as address:
        failure = await failure_of(address)
    assert failure.reason == "unreachable"


async def test_a_response_that_never_comes_is_a_timeout() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(wait) as address:
        failure = await failure_of(address, timeout_s=0.1)
    assert failure.reason == "timeout"
    assert str(failure) == "provider did not answer within 0.10 s"


async def test_a_response_that_is_too_long_is_undeliverable() -> None:
    async def send_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = http_client.MAX_RESPONSE_BYTES + 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + bytes(length))

    async with listening(send_too_much) as address, calling(f"http://{address}") as client:
        with pytest.raises(Undeliverable) as failure:
            await client.request("GET", "provider", "/", headers={}, timeout_s=5.0)
    assert failure.value.cause == "too_large"


async def test_a_timeout_of_the_system_is_a_timeout_without_a_limit_too() -> None:
    with pytest.raises(Unreachable, match=r"provider: TimeoutError: .*timed out") as failure:
        async with limit_exchange("provider", None):
            raise OSError(errno.ETIMEDOUT, "Connection timed out")
    assert failure.value.reason == "timeout"
